// Captions pictures, or answers about them, with a stage-2 model.
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "blip2/core/config.h"
#include "blip2/core/error.h"
#include "blip2/core/read_file.h"
#include "blip2/models/captioner.h"
#include "command_line.h"
#include "picture_batch.h"

namespace {

struct Arguments {
  std::string model, prompt, answers, quantize = "none";
  std::vector<std::string> pictures, options;
  std::size_t batch_size = 8;
  blip2::LoraFolders lora;
  bool json = false, mean = false;
  blip2::GenerationOptions generation;
};

void print(const Arguments& arguments, const blip2::PictureBatch& batch,
           const std::vector<std::vector<blip2::Caption>>& captions) {
  for (std::size_t i = 0; i < captions.size(); ++i) {
    for (const blip2::Caption& caption : captions[i]) {
      if (arguments.json) {
        std::cout << blip2::json_line({{"picture", batch.names[i]},
                                       {"caption", caption.text},
                                       {"token_ids", caption.token_ids},
                                       {"score", caption.score},
                                       {"token_log_probabilities", caption.token_log_probabilities}});
      } else {
        std::cout << batch.names[i] << ": " << caption.text << "\n";
      }
    }
  }
}

void print(const Arguments& arguments, const blip2::PictureBatch& batch,
           const std::vector<std::vector<blip2::RankedAnswer>>& ranked) {
  for (std::size_t i = 0; i < ranked.size(); ++i) {
    for (const blip2::RankedAnswer& answer : ranked[i]) {
      if (arguments.json) {
        std::cout << blip2::json_line({{"picture", batch.names[i]},
                                       {"answer", answer.text},
                                       {"token_ids", answer.token_ids},
                                       {"log_probability", answer.score.sum},
                                       {"mean_log_probability", answer.score.mean},
                                       {"token_log_probabilities", answer.score.token_log_probabilities}});
      } else {
        std::cout << batch.names[i] << ": " << answer.score.sum << ": " << answer.text << "\n";
      }
    }
  }
}

/** The lines of a file that hold something. */
std::vector<std::string> read_lines(const std::string& file) {
  constexpr std::uint64_t kLargest = 1 << 24;
  const std::vector<std::uint8_t> bytes = blip2::read_file(file, kLargest);
  std::istringstream text(std::string(bytes.begin(), bytes.end()));
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) {
    if (line.find_first_not_of(" \t\r") != std::string::npos) lines.push_back(line);
  }
  if (lines.empty()) throw blip2::UserError("'" + file + "' holds no answers, expected one a line");
  return lines;
}

/** The options that have a flag of their own, then `NAME=VALUE` over them. */
blip2::GenerationOptions generation_options(const Arguments& arguments) {
  nlohmann::json config = blip2::write_config(arguments.generation);
  for (const auto& assignment : arguments.options) blip2::apply_override(config, assignment);
  blip2::GenerationOptions options;
  blip2::read_config(config, options, "--option");
  blip2::validate(options);
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Captions pictures with a stage-2 model", "caption"};
  Arguments arguments;
  arguments.generation.num_beams = 5;
  std::int64_t max_new_tokens = 30;
  app.add_option("--model", arguments.model, "Run folder of train_stage2, or a published BLIP-2 folder")->required();
  blip2::add_quantize_option(app, arguments.quantize);
  blip2::add_lora_option(app, arguments.lora);
  app.add_option("pictures", arguments.pictures, "Picture files")->required();
  blip2::add_batch_size_option(app, arguments.batch_size);
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
  app.add_option("--option", arguments.options, "Any other NAME=VALUE of search, such as no_repeat_ngram_size=3")
      ->allow_extra_args(false);
  app.add_option("--answers", arguments.answers, "Rank the lines of this file as answers instead of searching");
  app.add_flag("--mean", arguments.mean, "With --answers: rank by the mean over tokens, which favours no length")
      ->needs("--answers");
  app.add_flag("--json", arguments.json, "One JSON object a caption or answer");
  if (const auto end = blip2::parse_command_line(app, argc, argv)) return *end;
  return blip2::run_program("caption", [&] {
    arguments.generation.max_new_tokens = max_new_tokens;
    const blip2::GenerationOptions options = generation_options(arguments);
    const blip2::WeightFormat format = blip2::inference_format(arguments.quantize);
    const auto answers = arguments.answers.empty() ? std::vector<std::string>() : read_lines(arguments.answers);
    blip2::GeneratorModel generator = blip2::load_generator_model(arguments.model, format, arguments.lora);
    const auto by = arguments.mean ? blip2::RankBy::kMean : blip2::RankBy::kSum;
    return blip2::for_each_batch(
        "caption", arguments.pictures, generator.transform, arguments.batch_size,
        [&](const blip2::PictureBatch& batch) {
          if (answers.empty()) {
            print(arguments, batch, blip2::caption_pictures(generator, batch.pixels, arguments.prompt, options));
          } else {
            print(arguments, batch, blip2::rank_given_answers(generator, batch.pixels, arguments.prompt, answers, by));
          }
        });
  });
}
