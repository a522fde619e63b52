// Every logits processor against the reference's own (tests/data/generate/logits_processors): which processors an
// option builds, in which order, which tokens survive, and the scores.
#include "blip2/generate/logits_processor.h"

#include <gmock/gmock.h>
#include <torch/torch.h>

#include <limits>
#include <map>
#include <string>

#include "blip2/checkpoint/safetensors.h"
#include "blip2/core/config.h"
#include "support/reference.h"

namespace blip2 {
namespace {

using nlohmann::json;

const std::map<std::string, std::string>& our_names() {
  static const std::map<std::string, std::string> names = {
      {"SequenceBiasLogitsProcessor", "sequence_bias"},
      {"EncoderRepetitionPenaltyLogitsProcessor", "encoder_repetition_penalty"},
      {"RepetitionPenaltyLogitsProcessor", "repetition_penalty"},
      {"NoRepeatNGramLogitsProcessor", "no_repeat_ngram_size"},
      {"EncoderNoRepeatNGramLogitsProcessor", "encoder_no_repeat_ngram_size"},
      {"NoBadWordsLogitsProcessor", "bad_words_ids"},
      {"MinLengthLogitsProcessor", "min_length"},
      {"MinNewTokensLengthLogitsProcessor", "min_length"},
      {"ForcedEOSTokenLogitsProcessor", "forced_eos_token_id"},
      {"ExponentialDecayLengthPenalty", "exponential_decay"},
      {"SuppressTokensLogitsProcessor", "suppress_tokens"},
      {"SuppressTokensAtBeginLogitsProcessor", "begin_suppress_tokens"},
      {"TemperatureLogitsWarper", "temperature"},
      {"TopKLogitsWarper", "top_k"},
      {"TopPLogitsWarper", "top_p"},
      {"MinPLogitsWarper", "min_p"},
      {"TypicalLogitsWarper", "typical_p"},
      {"EpsilonLogitsWarper", "epsilon_cutoff"},
      {"EtaLogitsWarper", "eta_cutoff"},
      {"LogitNormalization", "renormalize_logits"},
  };
  return names;
}

/** The reference's keyword arguments as our options; what has another form here is translated. */
GenerationOptions options_of(json arguments) {
  GenerationOptions options;
  if (arguments.contains("bad_words_ids")) {
    options.bad_words_ids = arguments["bad_words_ids"].get<std::vector<std::vector<std::int64_t>>>();
    arguments.erase("bad_words_ids");
  }
  if (arguments.contains("sequence_bias")) {
    for (const json& entry : arguments["sequence_bias"]) {
      options.sequence_bias.push_back({entry[0].get<std::vector<std::int64_t>>(), entry[1].get<double>()});
    }
    arguments.erase("sequence_bias");
  }
  if (arguments.contains("exponential_decay_length_penalty")) {
    options.exponential_decay_start = arguments["exponential_decay_length_penalty"][0].get<std::int64_t>();
    options.exponential_decay_factor = arguments["exponential_decay_length_penalty"][1].get<double>();
    arguments.erase("exponential_decay_length_penalty");
  }
  read_config(arguments, options, "reference");
  validate(options);
  return options;
}

struct Reference {
  json settings = load_json(test_data("generate/logits_processors/expected.json"));
  NamedTensors inputs = load_safetensors(test_data("generate/logits_processors/inputs.safetensors"));
  NamedTensors expected = load_safetensors(test_data("generate/logits_processors/expected.safetensors"));
};

History history_of(const Reference& reference, const json& one) {
  History history;
  history.ids = reference.inputs.at("history");
  if (one["masked_front"] > 0) {
    history.padding = torch::full({history.ids.size(0)}, one["masked_front"].get<std::int64_t>(), torch::kLong);
  }
  if (one["encoder_input_ids"]) history.encoder_ids = reference.inputs.at("encoder_input_ids");
  return history;
}

LogitsProcessors processors_of(const Reference& reference, const GenerationOptions& options) {
  LengthLimits limits;
  limits.prompt_length = reference.settings["prompt_length"];
  limits.min_length = options.min_new_tokens ? limits.prompt_length + *options.min_new_tokens : options.min_length;
  limits.max_length = options.max_length.value_or(0);
  return make_logits_processors(options, limits, reference.settings["eos_token_id"]);
}

TEST(LogitsProcessors, GiveTheScoresOfTheReference) {
  const Reference reference;
  int cases = 0;
  for (const auto& [name, one] : reference.settings["cases"].items()) {
    SCOPED_TRACE(name);
    at::Tensor scores = reference.inputs.at(one["input"].get<std::string>());
    if (one["log_softmax_first"]) scores = scores.log_softmax(-1);
    const at::Tensor before = scores.clone();
    const at::Tensor processed =
        process(processors_of(reference, options_of(one["options"])), history_of(reference, one), scores);
    EXPECT_TRUE(torch::equal(scores, before)) << "the input was changed";
    const at::Tensor& expected = reference.expected.at(name + ".processed");
    EXPECT_TRUE(torch::equal(processed.isfinite(), expected.isfinite())) << "other tokens survive";
    EXPECT_TRUE(torch::allclose(processed, expected, 1e-5, 1e-5))
        << (processed - expected).abs().nan_to_num(0, 0).max();
    EXPECT_TRUE(torch::allclose(processed.softmax(-1), reference.expected.at(name + ".probabilities"), 1e-5, 1e-6));
    ++cases;
  }
  EXPECT_EQ(cases, 47);
}

TEST(LogitsProcessors, AreBuiltInTheOrderOfTheReference) {
  const Reference reference;
  for (const auto& [name, one] : reference.settings["cases"].items()) {
    std::vector<std::string> expected;
    for (const json& processor : one["order"]) expected.push_back(our_names().at(processor.get<std::string>()));
    std::vector<std::string> built;
    for (const auto& processor : processors_of(reference, options_of(one["options"]))) {
      built.emplace_back(processor->name());
    }
    EXPECT_EQ(built, expected) << name;
  }
}

TEST(LogitsProcessors, AllTogetherKeepTheOrderOfTheSpecification) {
  GenerationOptions options;
  options.sequence_bias = {{{1}, 1.0}};
  options.encoder_repetition_penalty = options.repetition_penalty = 2.0;
  options.no_repeat_ngram_size = options.encoder_no_repeat_ngram_size = 2;
  options.bad_words_ids = {{1}};
  options.forced_eos_token_id = 0;
  options.exponential_decay_start = 1;
  options.suppress_tokens = options.begin_suppress_tokens = {1};
  options.do_sample = options.renormalize_logits = true;
  options.temperature = options.top_p = options.min_p = options.typical_p = 0.5;
  options.epsilon_cutoff = options.eta_cutoff = 0.1;
  std::vector<std::string> names;
  for (const auto& processor : make_logits_processors(options, {0, 1, 9}, 0)) names.emplace_back(processor->name());
  EXPECT_THAT(names, ::testing::ElementsAre("sequence_bias", "encoder_repetition_penalty", "repetition_penalty",
                                            "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "bad_words_ids",
                                            "min_length", "forced_eos_token_id", "exponential_decay", "suppress_tokens",
                                            "begin_suppress_tokens", "temperature", "top_k", "top_p", "min_p",
                                            "typical_p", "epsilon_cutoff", "eta_cutoff", "renormalize_logits"));
}

TEST(LogitsProcessors, ADecayLeavesAnEndThatIsForbiddenForbidden) {
  GenerationOptions options;
  options.exponential_decay_start = 0;
  options.exponential_decay_factor = 1.5;
  const at::Tensor scores = at::tensor({-2.0F, 1.0F, 3.0F}).view({1, 3});
  const History history{at::zeros({1, 2}, at::kLong), {}, {}};
  const auto end_score = [&](std::int64_t min_length) {
    const auto processors = make_logits_processors(options, {0, min_length, 9}, 0);
    return process(processors, history, scores)[0][0].item<float>();
  };
  EXPECT_EQ(end_score(9), -std::numeric_limits<float>::infinity());
  EXPECT_FLOAT_EQ(end_score(0), -2.0F + 2.0F * (1.5F * 1.5F - 1.0F));
}

TEST(LogitsProcessors, SuppressAtTheBeginningOnlyTheFirstNewToken) {
  GenerationOptions options;
  options.begin_suppress_tokens = {1};
  const LogitsProcessors processors = make_logits_processors(options, {2, 0, 9}, 0);
  const at::Tensor scores = torch::zeros({1, 3});
  const History first{torch::zeros({1, 2}, torch::kLong), {}, {}};
  const History second{torch::zeros({1, 3}, torch::kLong), {}, {}};
  EXPECT_FALSE(process(processors, first, scores)[0][1].isfinite().item<bool>());
  EXPECT_TRUE(process(processors, second, scores)[0][1].isfinite().item<bool>());
}

TEST(LogitsProcessors, BiasTheLastTokenOfASequenceAfterItsBeginning) {
  GenerationOptions options;
  options.sequence_bias = {{{1, 2, 4}, 2.5}, {{3}, -1.0}};
  const LogitsProcessors processors = make_logits_processors(options, {0, 0, 9}, 0);
  const History history{torch::tensor({{0, 1, 2}, {1, 2, 0}}), {}, {}};
  const at::Tensor biased = process(processors, history, torch::zeros({2, 5}));
  EXPECT_TRUE(torch::equal(biased, torch::tensor({{0.0F, 0.0F, 0.0F, -1.0F, 2.5F}, {0.0F, 0.0F, 0.0F, -1.0F, 0.0F}})));
}

TEST(LogitsProcessors, NeverForbidTheEndTokenAsABadWord) {
  GenerationOptions options;
  options.bad_words_ids = {{0}};
  EXPECT_TRUE(make_logits_processors(options, {0, 0, 9}, 0).empty());
  EXPECT_EQ(make_logits_processors(options, {0, 0, 9}, 1).size(), 1U);
}

TEST(LogitsProcessors, AcceptAnEmptyHistory) {
  GenerationOptions options;
  options.repetition_penalty = 2.0;
  options.no_repeat_ngram_size = 1;
  options.bad_words_ids = {{1, 2}};
  const History history{torch::zeros({2, 0}, torch::kLong), {}, {}};
  const at::Tensor scores = torch::ones({2, 4});
  EXPECT_TRUE(torch::equal(process(make_logits_processors(options, {0, 0, 9}, 0), history, scores), scores));
}

}  // namespace
}  // namespace blip2
