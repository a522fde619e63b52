// Says how well texts fit pictures: the matching head's probability and the contrastive similarity of a stage-1 model.
#include <torch/torch.h>

#include <iostream>
#include <nlohmann/json.hpp>

#include "blip2/core/error.h"
#include "blip2/losses/image_text_contrastive.h"
#include "blip2/losses/image_text_matching.h"
#include "blip2/models/run_folder.h"
#include "command_line.h"
#include "picture_batch.h"

namespace {

struct Arguments {
  std::string model, quantize = "none";
  std::vector<std::string> pictures, texts;
  std::size_t batch_size = 8;
  blip2::LoraFolders lora;
  bool json = false;
};

void print(const Arguments& arguments, const std::string& picture, const std::string& text, double match,
           double similarity) {
  if (arguments.json) {
    std::cout << blip2::json_line(
        {{"picture", picture}, {"text", text}, {"match_probability", match}, {"similarity", similarity}});
  } else {
    std::cout << picture << ": match " << match << ", similarity " << similarity << ": " << text << "\n";
  }
}

void print_matches(blip2::Blip2QFormerImpl& model, const Arguments& arguments, const blip2::PictureBatch& batch,
                   const blip2::TextTokens& text, const at::Tensor& text_features) {
  const blip2::ImageQueries image = model.encode_image(batch.pixels);
  const at::Tensor similarity = blip2::best_query_similarity(model.image_features(image.query_output), text_features);
  blip2::check_numbers(similarity);
  for (std::size_t i = 0; i < batch.names.size(); ++i) {
    const auto row = static_cast<std::int64_t>(i);
    const at::Tensor picture = torch::full({text.ids.size(0)}, row, torch::kLong);
    const at::Tensor probability =
        blip2::matching_logits(model.match(blip2::select_rows(image.image_memory, picture), text))
            .softmax(1)
            .select(1, 1);
    blip2::check_numbers(probability);
    for (std::size_t j = 0; j < arguments.texts.size(); ++j) {
      const auto column = static_cast<std::int64_t>(j);
      print(arguments, batch.names[i], arguments.texts[j], probability[column].item<double>(),
            similarity[row][column].item<double>());
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Scores texts against pictures with a stage-1 model", "match"};
  Arguments arguments;
  app.add_option("--model", arguments.model, "Run folder of train_stage1, or a published retrieval folder")
      ->check(blip2::not_empty())
      ->required();
  blip2::add_quantize_option(app, arguments.quantize);
  blip2::add_lora_option(app, arguments.lora);
  blip2::add_batch_size_option(app, arguments.batch_size);
  // One each: a list would take the pictures behind it for texts.
  app.add_option("--text", arguments.texts, "A text; may be given several times")->allow_extra_args(false)->required();
  app.add_option("pictures", arguments.pictures, "Picture files")->required();
  app.add_flag("--json", arguments.json, "One JSON object a pair");
  if (const auto end = blip2::parse_command_line(app, argc, argv)) return *end;
  return blip2::run_program("match", [&] {
    torch::NoGradGuard no_grad;
    blip2::RepresentationModel loaded =
        blip2::load_representation_model(arguments.model, blip2::inference_format(arguments.quantize), arguments.lora);
    auto& model = *loaded.model;
    blip2::BatchOptions cut;
    cut.max_length = model.options().qformer_config.max_position_embeddings;
    const blip2::TextTokens text = blip2::tokenize(*loaded.tokenizer, arguments.texts, cut);
    const at::Tensor text_features = model.text_features(model.encode_text(text));
    return blip2::for_each_batch(
        "match", arguments.pictures, loaded.transform, arguments.batch_size,
        [&](const blip2::PictureBatch& batch) { print_matches(model, arguments, batch, text, text_features); });
  });
}
