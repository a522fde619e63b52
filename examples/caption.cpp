// Captions pictures, or answers about them, with a stage-2 model.
#include <CLI/CLI.hpp>
#include <iostream>
#include <nlohmann/json.hpp>

#include "blip2/core/error.h"
#include "blip2/models/captioner.h"
#include "picture_batch.h"

namespace {

struct Arguments {
  std::string model, prompt;
  std::vector<std::string> pictures;
  bool json = false;
  blip2::GenerationOptions generation;
};

void print(const Arguments& arguments, const blip2::PictureBatch& batch,
           const std::vector<std::vector<blip2::Caption>>& captions) {
  for (std::size_t i = 0; i < captions.size(); ++i) {
    for (const blip2::Caption& caption : captions[i]) {
      if (arguments.json) {
        std::cout << nlohmann::json{{"picture", batch.names[i]},
                                    {"caption", caption.text},
                                    {"token_ids", caption.token_ids},
                                    {"score", caption.score},
                                    {"token_log_probabilities", caption.token_log_probabilities}}
                  << "\n";
      } else {
        std::cout << batch.names[i] << ": " << caption.text << "\n";
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Captions pictures with a stage-2 model", "caption"};
  Arguments arguments;
  arguments.generation.num_beams = 5;
  std::int64_t max_new_tokens = 30;
  app.add_option("--model", arguments.model, "Run folder of train_stage2")->required();
  app.add_option("pictures", arguments.pictures, "Picture files")->required();
  app.add_option("--prompt", arguments.prompt, "Text in front of the answer");
  app.add_option("--beams", arguments.generation.num_beams, "Beams; 1: greedy")->capture_default_str();
  app.add_option("--max-new-tokens", max_new_tokens, "Longest answer in tokens")->capture_default_str();
  app.add_option("--min-length", arguments.generation.min_length, "Shortest sequence, prompt and picture included");
  app.add_option("--length-penalty", arguments.generation.length_penalty)->capture_default_str();
  app.add_option("--repetition-penalty", arguments.generation.repetition_penalty)->capture_default_str();
  app.add_option("--captions", arguments.generation.num_return_sequences, "Captions per picture")
      ->capture_default_str();
  app.add_flag("--sample", arguments.generation.do_sample, "Draw instead of searching");
  app.add_option("--top-p", arguments.generation.top_p, "With --sample")->capture_default_str();
  app.add_option("--temperature", arguments.generation.temperature, "With --sample")->capture_default_str();
  app.add_option("--seed", arguments.generation.seed, "With --sample")->capture_default_str();
  app.add_flag("--json", arguments.json, "One JSON object a caption");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return blip2::run_program("caption", [&] {
    arguments.generation.max_new_tokens = max_new_tokens;
    blip2::validate(arguments.generation);
    blip2::GeneratorModel generator = blip2::load_generator_model(arguments.model);
    const auto batch = blip2::load_pictures(arguments.pictures, generator.config, generator.model->options());
    print(arguments, batch, blip2::caption_pictures(generator, batch.pixels, arguments.prompt, arguments.generation));
    return batch.exit_code();
  });
}
