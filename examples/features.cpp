// Writes what a model makes of pictures and texts as safetensors: query outputs and contrastive embeddings of a stage-1
// or retrieval model, projected tokens (the soft prompt) of a stage-2 or generative model.
#include <torch/torch.h>

#include <filesystem>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>

#include "blip2/checkpoint/safetensors.h"
#include "blip2/core/error.h"
#include "blip2/core/output_path.h"
#include "blip2/models/published_folder.h"
#include "blip2/models/source_folders.h"
#include "command_line.h"
#include "picture_batch.h"

namespace {

struct Arguments {
  std::string model, output, quantize = "none";
  std::vector<std::string> pictures, texts;
  std::size_t batch_size = 8;
  blip2::LoraFolders lora;
};

/** What is written: the rows of all batches, and the names of the pictures that they belong to. */
struct Features {
  std::map<std::string, std::vector<at::Tensor>> rows;
  std::vector<std::string> pictures;
  int exit_code = 0;

  void add(const blip2::PictureBatch& batch) {
    pictures.insert(pictures.end(), batch.names.begin(), batch.names.end());
  }
};

void add_pairs_features(const Arguments& arguments, Features& features) {
  const blip2::RepresentationModel loaded =
      blip2::load_representation_model(arguments.model, blip2::inference_format(arguments.quantize), arguments.lora);
  auto& model = *loaded.model.ptr();
  features.exit_code = blip2::for_each_batch("features", arguments.pictures, loaded.transform, arguments.batch_size,
                                             [&](const blip2::PictureBatch& batch) {
                                               const at::Tensor output = model.encode_image(batch.pixels).query_output;
                                               features.rows["query_output"].push_back(output);
                                               features.rows["image_embeds"].push_back(model.image_features(output));
                                               features.add(batch);
                                             });
  if (arguments.texts.empty()) return;
  blip2::BatchOptions cut;
  cut.max_length = model.options().qformer_config.max_position_embeddings;
  features.rows["text_embeds"].push_back(
      model.text_features(model.encode_text(blip2::tokenize(*loaded.tokenizer, arguments.texts, cut))));
}

void add_soft_prompt(const Arguments& arguments, Features& features) {
  if (!arguments.texts.empty()) {
    throw blip2::UserError("--text needs a stage-1 or retrieval model, '" + arguments.model + "' generates text");
  }
  const blip2::GeneratorModel loaded =
      blip2::load_generator_model(arguments.model, blip2::inference_format(arguments.quantize), arguments.lora);
  features.exit_code = blip2::for_each_batch(
      "features", arguments.pictures, loaded.transform, arguments.batch_size, [&](const blip2::PictureBatch& batch) {
        features.rows["projected_tokens"].push_back(loaded.model.ptr()->project_image(batch.pixels));
        features.add(batch);
      });
}

void write(const Features& features, const Arguments& arguments) {
  blip2::NamedTensors tensors;
  for (const auto& [name, rows] : features.rows) {
    tensors[name] = torch::cat(rows);
    blip2::check_numbers(tensors[name]);
  }
  // The rows' names beside them, for files that could not be read are left out.
  const auto names = [](const std::vector<std::string>& list) {
    return nlohmann::json(list).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  };
  blip2::prepare_output(arguments.output);
  blip2::save_safetensors(tensors, arguments.output,
                          {{"pictures", names(features.pictures)}, {"texts", names(arguments.texts)}});
  std::cout << arguments.output << ": " << features.pictures.size() << " pictures\n";
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Writes embeddings of pictures and texts to a safetensors file", "features"};
  Arguments arguments;
  app.add_option("--model", arguments.model, "Run folder, or a published BLIP-2 folder")
      ->check(blip2::not_empty())
      ->required();
  app.add_option("--output", arguments.output,
                 "File to write: query_output [B, Q, H], image_embeds [B, Q, E], "
                 "text_embeds [T, E], or projected_tokens [B, Q, W]")
      ->check(blip2::not_empty())
      ->required();
  blip2::add_quantize_option(app, arguments.quantize);
  blip2::add_lora_option(app, arguments.lora);
  blip2::add_batch_size_option(app, arguments.batch_size);
  app.add_option("--text", arguments.texts, "A text; may be given several times")->allow_extra_args(false);
  app.add_option("pictures", arguments.pictures, "Picture files")->required();
  if (const auto end = blip2::parse_command_line(app, argc, argv)) return *end;
  return blip2::run_program("features", [&] {
    torch::NoGradGuard no_grad;
    std::vector<std::filesystem::path> read = blip2::source_files(arguments.model, arguments.lora);
    read.insert(read.end(), arguments.pictures.begin(), arguments.pictures.end());
    blip2::check_output_file(arguments.output, read);  // before the work
    Features features;
    if (blip2::is_retrieval_model(arguments.model)) {
      add_pairs_features(arguments, features);
    } else {
      add_soft_prompt(arguments, features);
    }
    write(features, arguments);
    return features.exit_code;
  });
}
