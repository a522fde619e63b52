#include "trace/logits_processor_case.h"

#include <torch/torch.h>

#include <map>

#include "blip2/core/config.h"
#include "blip2/core/error.h"
#include "blip2/generate/logits_processor.h"

namespace blip2 {
namespace {

using nlohmann::json;

/** The class that the reference has for one of our processors. */
std::string reference_name(const std::string& name, const GenerationOptions& options) {
  static const std::map<std::string, std::string> names = {
      {"sequence_bias", "SequenceBiasLogitsProcessor"},
      {"encoder_repetition_penalty", "EncoderRepetitionPenaltyLogitsProcessor"},
      {"repetition_penalty", "RepetitionPenaltyLogitsProcessor"},
      {"no_repeat_ngram_size", "NoRepeatNGramLogitsProcessor"},
      {"encoder_no_repeat_ngram_size", "EncoderNoRepeatNGramLogitsProcessor"},
      {"bad_words_ids", "NoBadWordsLogitsProcessor"},
      {"min_length", "MinLengthLogitsProcessor"},
      {"forced_eos_token_id", "ForcedEOSTokenLogitsProcessor"},
      {"exponential_decay", "ExponentialDecayLengthPenalty"},
      {"suppress_tokens", "SuppressTokensLogitsProcessor"},
      {"begin_suppress_tokens", "SuppressTokensAtBeginLogitsProcessor"},
      {"temperature", "TemperatureLogitsWarper"},
      {"top_k", "TopKLogitsWarper"},
      {"top_p", "TopPLogitsWarper"},
      {"min_p", "MinPLogitsWarper"},
      {"typical_p", "TypicalLogitsWarper"},
      {"epsilon_cutoff", "EpsilonLogitsWarper"},
      {"eta_cutoff", "EtaLogitsWarper"},
      {"renormalize_logits", "LogitNormalization"},
  };
  if (name == "min_length" && options.min_new_tokens) return "MinNewTokensLengthLogitsProcessor";
  return names.at(name);
}

const at::Tensor& input(const NamedTensors& inputs, const std::string& name) {
  const auto found = inputs.find(name);
  if (found == inputs.end()) throw UserError("the case's inputs.safetensors holds no tensor '" + name + "'");
  return found->second;
}

History history_of(const json& one, const NamedTensors& inputs) {
  History history;
  history.ids = input(inputs, "history");
  const auto masked = one.value("masked_front", std::int64_t{0});
  if (masked > 0) history.padding = torch::full({history.ids.size(0)}, masked, torch::kLong);
  if (one.value("encoder_input_ids", false)) history.encoder_ids = input(inputs, "encoder_input_ids");
  return history;
}

}  // namespace

GenerationOptions reference_options(json arguments, const std::string& source) {
  GenerationOptions options;
  if (arguments.contains("early_stopping") && arguments["early_stopping"].is_boolean()) {
    arguments["early_stopping"] = arguments["early_stopping"].get<bool>() ? "yes" : "no";
  }
  if (arguments.contains("bad_words_ids")) {
    arguments["bad_words_ids"].get_to(options.bad_words_ids);
    arguments.erase("bad_words_ids");
  }
  if (arguments.contains("sequence_bias")) {
    for (const json& entry : arguments["sequence_bias"]) {
      options.sequence_bias.push_back({entry.at(0).get<std::vector<std::int64_t>>(), entry.at(1).get<double>()});
    }
    arguments.erase("sequence_bias");
  }
  if (const auto decay = arguments.find("exponential_decay_length_penalty"); decay != arguments.end()) {
    options.exponential_decay_start = decay->at(0).get<std::int64_t>();
    options.exponential_decay_factor = decay->at(1).get<double>();
    arguments.erase(decay);
  }
  read_config(arguments, options, source);
  return options;
}

json run_logits_processors(const json& asked, const NamedTensors& inputs, NamedTensors& trace) {
  const torch::NoGradGuard no_grad;
  json results = {{"eos_token_id", asked.at("eos_token_id")},
                  {"prompt_length", asked.at("prompt_length")},
                  {"history_length", input(inputs, "history").size(1)}};
  for (const auto& [name, one] : asked.at("cases").items()) {
    const GenerationOptions options = reference_options(one.at("options"), "expected.json: " + name);
    validate(options);
    LengthLimits limits;
    limits.prompt_length = asked["prompt_length"];
    limits.min_length = options.min_new_tokens ? limits.prompt_length + *options.min_new_tokens : options.min_length;
    limits.max_length = options.max_length.value_or(0);
    const LogitsProcessors processors = make_logits_processors(options, limits, asked["eos_token_id"]);
    at::Tensor scores = input(inputs, one.at("input"));
    if (one.value("log_softmax_first", false)) scores = scores.log_softmax(-1);
    scores = process(processors, history_of(one, inputs), scores);
    trace[name + ".processed"] = scores;
    trace[name + ".probabilities"] = scores.softmax(-1);

    json result = one;
    result["order"] = result["kept"] = json::array();
    for (const auto& processor : processors) result["order"].push_back(reference_name(processor->name(), options));
    const at::Tensor kept = scores.isfinite().sum(-1);
    for (std::int64_t row = 0; row < kept.size(0); ++row) result["kept"].push_back(kept[row].item<std::int64_t>());
    results["cases"][name] = std::move(result);
  }
  return results;
}

}  // namespace blip2
