// Writes what a model makes of pictures and texts as safetensors: query outputs and contrastive embeddings of a stage-1
// or retrieval model, projected tokens (the soft prompt) of a stage-2 or generative model.
#include <iostream>
#include <nlohmann/json.hpp>

#include "blip2/checkpoint/safetensors.h"
#include "blip2/core/error.h"
#include "blip2/models/published_folder.h"
#include "command_line.h"
#include "picture_batch.h"

namespace {

struct Arguments {
  std::string model, output;
  std::vector<std::string> pictures, texts;
};

void add_pairs_features(const Arguments& arguments, blip2::NamedTensors& features, blip2::PictureBatch& batch) {
  const blip2::RepresentationModel loaded = blip2::load_representation_model(arguments.model);
  auto& model = *loaded.model.ptr();
  batch = blip2::load_pictures("features", arguments.pictures, loaded.transform);
  features["query_output"] = model.encode_image(batch.pixels).query_output;
  features["image_embeds"] = model.image_features(features["query_output"]);
  if (arguments.texts.empty()) return;
  blip2::BatchOptions cut;
  cut.max_length = model.options().qformer_config.max_position_embeddings;
  features["text_embeds"] =
      model.text_features(model.encode_text(blip2::tokenize(*loaded.tokenizer, arguments.texts, cut)));
}

void add_soft_prompt(const Arguments& arguments, blip2::NamedTensors& features, blip2::PictureBatch& batch) {
  if (!arguments.texts.empty()) {
    throw blip2::UserError("--text needs a stage-1 or retrieval model, '" + arguments.model + "' generates text");
  }
  const blip2::GeneratorModel loaded = blip2::load_generator_model(arguments.model);
  batch = blip2::load_pictures("features", arguments.pictures, loaded.transform);
  features["projected_tokens"] = loaded.model.ptr()->project_image(batch.pixels);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Writes embeddings of pictures and texts to a safetensors file", "features"};
  Arguments arguments;
  app.add_option("--model", arguments.model, "Run folder, or a published BLIP-2 folder")->required();
  app.add_option("--output", arguments.output,
                 "File to write: query_output [B, Q, H], image_embeds [B, Q, E], "
                 "text_embeds [T, E], or projected_tokens [B, Q, W]")
      ->required();
  app.add_option("--text", arguments.texts, "A text; may be given several times")->allow_extra_args(false);
  app.add_option("pictures", arguments.pictures, "Picture files")->required();
  if (const auto end = blip2::parse_command_line(app, argc, argv)) return *end;
  return blip2::run_program("features", [&] {
    torch::NoGradGuard no_grad;
    blip2::NamedTensors features;
    blip2::PictureBatch batch;
    if (blip2::is_retrieval_model(arguments.model)) {
      add_pairs_features(arguments, features, batch);
    } else {
      add_soft_prompt(arguments, features, batch);
    }
    // The rows' names beside them, for files that could not be read are left out.
    const auto names = [](const std::vector<std::string>& list) {
      return nlohmann::json(list).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    };
    blip2::save_safetensors(features, arguments.output,
                            {{"pictures", names(batch.names)}, {"texts", names(arguments.texts)}});
    std::cout << arguments.output << ": " << batch.names.size() << " pictures\n";
    return batch.exit_code();
  });
}
