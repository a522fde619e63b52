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

int main(int argc, char** argv) {
  CLI::App app{"Scores texts against pictures with a stage-1 model", "match"};
  std::string model_folder;
  std::vector<std::string> pictures, texts;
  bool json = false;
  app.add_option("--model", model_folder, "Run folder of train_stage1, or a published retrieval folder")->required();
  // One each: a list would take the pictures behind it for texts.
  app.add_option("--text", texts, "A text; may be given several times")->allow_extra_args(false)->required();
  app.add_option("pictures", pictures, "Picture files")->required();
  app.add_flag("--json", json, "One JSON object a pair");
  if (const auto end = blip2::parse_command_line(app, argc, argv)) return *end;
  return blip2::run_program("match", [&] {
    torch::NoGradGuard no_grad;
    blip2::RepresentationModel loaded = blip2::load_representation_model(model_folder);
    auto& model = *loaded.model;
    const auto batch = blip2::load_pictures("match", pictures, loaded.transform);
    blip2::BatchOptions cut;
    cut.max_length = model.options().qformer_config.max_position_embeddings;
    const blip2::TextTokens text = blip2::tokenize(*loaded.tokenizer, texts, cut);
    const blip2::ImageQueries image = model.encode_image(batch.pixels);
    const at::Tensor similarity = blip2::best_query_similarity(model.image_features(image.query_output),
                                                               model.text_features(model.encode_text(text)));
    for (std::size_t i = 0; i < batch.names.size(); ++i) {
      const auto picture =
          torch::full({static_cast<std::int64_t>(texts.size())}, static_cast<std::int64_t>(i), torch::kLong);
      const at::Tensor probability =
          blip2::matching_logits(model.match(blip2::select_rows(image.image_memory, picture), text))
              .softmax(1)
              .select(1, 1);
      for (std::size_t j = 0; j < texts.size(); ++j) {
        const double match = probability[static_cast<std::int64_t>(j)].item<double>();
        const double cosine = similarity[static_cast<std::int64_t>(i)][static_cast<std::int64_t>(j)].item<double>();
        if (json) {
          std::cout << blip2::json_line(
              {{"picture", batch.names[i]}, {"text", texts[j]}, {"match_probability", match}, {"similarity", cosine}});
        } else {
          std::cout << batch.names[i] << ": match " << match << ", similarity " << cosine << ": " << texts[j] << "\n";
        }
      }
    }
    return batch.exit_code();
  });
}
