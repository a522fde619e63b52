// Captions pictures, or answers about them, with a stage-2 model; captions also with a stage-1 model alone.
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>

#include "blip2/core/config.h"
#include "blip2/core/error.h"
#include "blip2/core/read_file.h"
#include "blip2/models/captioner.h"
#include "blip2/models/published_folder.h"
#include "blip2/models/qformer_language_model.h"
#include "command_line.h"
#include "picture_batch.h"

namespace {

constexpr std::int64_t kLongestAnswer = 30;  // tokens, where nothing else was asked for

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

/** The options that have a flag of their own, then `NAME=VALUE` over them; null is an option's default. */
blip2::GenerationOptions generation_options(const Arguments& arguments) {
  nlohmann::json config = blip2::write_config(arguments.generation);
  for (const auto& assignment : arguments.options) blip2::apply_override(config, assignment);
  for (auto entry = config.begin(); entry != config.end();) {
    entry = entry->is_null() ? config.erase(entry) : std::next(entry);
  }
  if (!config.contains("max_new_tokens") && !config.contains("max_length")) config["max_new_tokens"] = kLongestAnswer;
  // As transformers spells it.
  const nlohmann::json early = config.value("early_stopping", nlohmann::json("no"));
  if (early == true || early == "True") config["early_stopping"] = "yes";
  if (early == false || early == "False") config["early_stopping"] = "no";
  blip2::GenerationOptions options;
  blip2::read_config(config, options, "--option");
  blip2::validate(options);
  return options;
}

/** The names that `--option` takes. */
std::string option_names() {
  std::string names;
  const nlohmann::json config = blip2::write_config(blip2::GenerationOptions());
  for (const auto& [name, value] : config.items()) names += (names.empty() ? "" : ", ") + name;
  return names;
}

/** Options of search, which ranking given answers has no use for: said, not passed over. */
std::vector<CLI::Option*> add_search_options(CLI::App& app, Arguments& arguments) {
  blip2::GenerationOptions& search = arguments.generation;
  const std::string longest = "Longest answer in tokens [" + std::to_string(kLongestAnswer) + "]";
  return {app.add_option("--beams", search.num_beams, "Beams; 1: greedy")->capture_default_str(),
          app.add_option("--max-new-tokens", search.max_new_tokens, longest),
          app.add_option("--min-length", search.min_length, "Shortest sequence, prompt and picture included"),
          app.add_option("--length-penalty", search.length_penalty)->capture_default_str(),
          app.add_option("--repetition-penalty", search.repetition_penalty)->capture_default_str(),
          app.add_option("--captions", search.num_return_sequences, "Captions per picture")->capture_default_str(),
          app.add_flag("--sample", search.do_sample, "Draw instead of searching"),
          app.add_option("--top-p", search.top_p, "With --sample")->capture_default_str(),
          app.add_option("--temperature", search.temperature, "With --sample")->capture_default_str(),
          app.add_option("--seed", search.seed, "With --sample")->capture_default_str(),
          app.add_option("--option", arguments.options,
                         "Any NAME=VALUE of search, such as no_repeat_ngram_size=3: " + option_names())
              ->allow_extra_args(false)};
}

int caption_with_language_model(const Arguments& arguments, const blip2::GenerationOptions& options,
                                const std::vector<std::string>& answers) {
  const blip2::WeightFormat format = blip2::inference_format(arguments.quantize);
  blip2::GeneratorModel generator = blip2::load_generator_model(arguments.model, format, arguments.lora);
  const auto by = arguments.mean ? blip2::RankBy::kMean : blip2::RankBy::kSum;
  return blip2::for_each_batch(
      "caption", arguments.pictures, generator.transform, arguments.batch_size, [&](const blip2::PictureBatch& batch) {
        if (answers.empty()) {
          print(arguments, batch, blip2::caption_pictures(generator, batch.pixels, arguments.prompt, options));
        } else {
          print(arguments, batch, blip2::rank_given_answers(generator, batch.pixels, arguments.prompt, answers, by));
        }
      });
}

int caption_with_qformer(const Arguments& arguments, const blip2::GenerationOptions& options) {
  for (const auto& [flag, value] : {std::pair("--prompt", arguments.prompt), {"--answers", arguments.answers}}) {
    if (value.empty()) continue;
    throw blip2::UserError(std::string(flag) + " needs a language model, but '" + arguments.model +
                           "' is a stage-1 model, which writes captions alone; name a stage-2 model or leave " + flag +
                           " out");
  }
  blip2::RepresentationModel model =
      blip2::load_representation_model(arguments.model, blip2::inference_format(arguments.quantize), arguments.lora);
  return blip2::for_each_batch("caption", arguments.pictures, model.transform, arguments.batch_size,
                               [&](const blip2::PictureBatch& batch) {
                                 print(arguments, batch, blip2::caption_pictures(model, batch.pixels, options));
                               });
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Captions pictures", "caption"};
  Arguments arguments;
  arguments.generation.num_beams = 5;
  app.add_option("--model", arguments.model, "Run folder of train_stage2 or train_stage1, or a published BLIP-2 folder")
      ->check(blip2::not_empty())
      ->required();
  blip2::add_quantize_option(app, arguments.quantize);
  blip2::add_lora_option(app, arguments.lora);
  app.add_option("pictures", arguments.pictures, "Picture files")->required();
  blip2::add_batch_size_option(app, arguments.batch_size);
  app.add_option("--prompt", arguments.prompt, "Text in front of the answer");
  const std::vector<CLI::Option*> search = add_search_options(app, arguments);
  auto* ranked =
      app.add_option("--answers", arguments.answers, "Rank the lines of this file as answers instead of searching")
          ->check(blip2::not_empty());
  for (CLI::Option* option : search) ranked->excludes(option);
  app.add_flag("--mean", arguments.mean, "With --answers: rank by the mean over tokens, which favours no length")
      ->needs("--answers");
  app.add_flag("--json", arguments.json, "One JSON object a caption or answer");
  if (const auto end = blip2::parse_command_line(app, argc, argv)) return *end;
  return blip2::run_program("caption", [&] {
    const blip2::GenerationOptions options = generation_options(arguments);
    const auto answers = arguments.answers.empty() ? std::vector<std::string>() : read_lines(arguments.answers);
    if (blip2::is_retrieval_model(arguments.model)) return caption_with_qformer(arguments, options);
    return caption_with_language_model(arguments, options, answers);
  });
}
