// Greedy search and sampling driven by a language model whose every probability is known.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "blip2/generate/generate.h"
#include "support/expect_error.h"
#include "support/fake_language_model.h"

namespace blip2 {
namespace {

using ::testing::ElementsAre;
using Ids = FakeLanguageModel::Ids;

constexpr std::int64_t kEnd = 0, kA = 1, kB = 2, kPadding = 3;

/** Row n says n times A, then the end token. */
FakeLanguageModel counting_model() {
  return FakeLanguageModel([](const Ids& history) {
    const bool done = static_cast<std::int64_t>(history.size()) - 1 >= history.front();
    return done ? std::vector<float>{2.0F, 1.0F, 0.5F, -30.0F} : std::vector<float>{0.0F, 2.0F, 1.0F, -30.0F};
  });
}

GenerationPrompt with_ids(std::int64_t rows, at::Tensor ids) {
  GenerationPrompt prompt;
  prompt.prompt = fake_prompt(rows, ids.size(1));
  prompt.ids = std::move(ids);
  return prompt;
}

TEST(GreedySearch, StopsAtTheEndTokenAndFillsWithPadding) {
  FakeLanguageModel model = counting_model();
  const Generated generated = generate(model, with_ids(3, torch::tensor({{2, 2}, {2, 1}, {1, 1}})), {});
  ASSERT_EQ(generated.size(), 3U);
  ASSERT_EQ(generated[0].size(), 1U);
  EXPECT_THAT(generated[0][0].new_tokens, ElementsAre(kEnd));
  EXPECT_THAT(generated[1][0].new_tokens, ElementsAre(kA, kEnd));
  EXPECT_THAT(generated[2][0].new_tokens, ElementsAre(kA, kA, kEnd));
  EXPECT_THAT(generated[0][0].ids, ElementsAre(2, 2, kEnd, kPadding, kPadding));
  EXPECT_THAT(generated[1][0].ids, ElementsAre(2, 1, kA, kEnd, kPadding));
  EXPECT_THAT(generated[2][0].ids, ElementsAre(1, 1, kA, kA, kEnd));
}

TEST(GreedySearch, ReadsThePromptOnceAndLeavesFinishedRowsOut) {
  FakeLanguageModel model = counting_model();
  generate(model, with_ids(3, torch::zeros({3, 1}, torch::kLong)), {});
  EXPECT_THAT(model.begin_rows, ElementsAre(3));
  EXPECT_THAT(model.step_rows, ElementsAre(2, 1));
}

TEST(GreedySearch, ScoresWithTheSumOfLogProbabilities) {
  FakeLanguageModel model = counting_model();
  GenerationPrompt prompt{fake_prompt(1, 1, 1), {}, {}, {}};
  const Hypothesis answer = generate(model, prompt, {})[0][0];
  const double first = 2.0 - std::log(std::exp(0.0) + std::exp(2.0) + std::exp(1.0) + std::exp(-30.0));
  const double second = 2.0 - std::log(std::exp(2.0) + std::exp(1.0) + std::exp(0.5) + std::exp(-30.0));
  ASSERT_EQ(answer.token_log_probabilities.size(), 2U);
  EXPECT_NEAR(answer.token_log_probabilities[0], first, 1e-6);
  EXPECT_NEAR(answer.token_log_probabilities[1], second, 1e-6);
  EXPECT_NEAR(answer.score, first + second, 1e-6);
}

TEST(GreedySearch, SaysTwentyTokensByDefault) {
  FakeLanguageModel model = counting_model();
  GenerationPrompt prompt{fake_prompt(1, 1, 100), {}, {}, {}};
  EXPECT_EQ(generate(model, prompt, {})[0][0].new_tokens.size(), 20U);
  model.positions = 12;  // one is the prompt's
  EXPECT_EQ(generate(model, prompt, {})[0][0].new_tokens.size(), 11U);
}

TEST(GreedySearch, CountsTheIdsOfThePromptInLengthsButNotInNewTokens) {
  FakeLanguageModel model = counting_model();
  GenerationPrompt prompt = with_ids(1, torch::zeros({1, 5}, torch::kLong));
  GenerationOptions options;
  options.min_length = 8;
  EXPECT_THAT(generate(model, prompt, options)[0][0].new_tokens, ElementsAre(kA, kA, kA, kEnd));
  options = {};
  options.min_new_tokens = 2;
  EXPECT_THAT(generate(model, prompt, options)[0][0].new_tokens, ElementsAre(kA, kA, kEnd));
  prompt.prompt = fake_prompt(1, 5, 100);
  options = {};
  options.max_length = 8;
  EXPECT_THAT(generate(model, prompt, options)[0][0].new_tokens, ElementsAre(kA, kA, kA));
  options = {};
  options.max_new_tokens = 2;
  EXPECT_THAT(generate(model, prompt, options)[0][0].new_tokens, ElementsAre(kA, kA));
}

TEST(GreedySearch, CountsPositionsInMaxLengthWhenThePromptHasNoIds) {
  FakeLanguageModel model = counting_model();
  GenerationOptions options;
  options.max_length = 8;
  const Hypothesis answer = generate(model, {fake_prompt(1, 5, 100), {}, {}, {}}, options)[0][0];
  EXPECT_THAT(answer.ids, ElementsAre(kA, kA, kA));
}

TEST(GreedySearch, BeginsTheRowsOfAnEncoderDecoderWithItsStartToken) {
  FakeLanguageModel model = counting_model();
  model.encoder_decoder = true;
  model.special.decoder_start = 2;
  GenerationOptions options;
  options.max_length = 4;  // the start token counts, the encoder's prompt does not
  EXPECT_THAT(generate(model, {fake_prompt(1, 7, 100), {}, {}, {}}, options)[0][0].ids, ElementsAre(2, kA, kA, kA));
}

TEST(GreedySearch, PenalisesTheIdsOfThePromptButNotItsPadding) {
  // A is ahead of B until it is penalised.
  FakeLanguageModel model([](const Ids&) { return std::vector<float>{0.0F, 2.0F, 1.5F, -30.0F}; });
  GenerationOptions options;
  options.max_new_tokens = 1;
  options.repetition_penalty = 2.0;
  GenerationPrompt prompt = with_ids(2, torch::tensor({{1, 0}, {1, 0}}));
  EXPECT_THAT(generate(model, prompt, options)[0][0].new_tokens, ElementsAre(kB));
  prompt.ids_mask = torch::tensor({{1, 1}, {0, 1}});
  const Generated masked = generate(model, prompt, options);
  EXPECT_THAT(masked[0][0].new_tokens, ElementsAre(kB));
  EXPECT_THAT(masked[1][0].new_tokens, ElementsAre(kA));
}

TEST(GreedySearch, ForbidsWhatTheEncodersPromptSays) {
  FakeLanguageModel model([](const Ids&) { return std::vector<float>{0.0F, 2.0F, 1.5F, -30.0F}; });
  GenerationOptions options;
  options.max_new_tokens = 1;
  options.encoder_no_repeat_ngram_size = 1;
  GenerationPrompt prompt{fake_prompt(2), {}, {}, torch::tensor({{1}, {2}})};
  const Generated generated = generate(model, prompt, options);
  EXPECT_THAT(generated[0][0].new_tokens, ElementsAre(kB));
  EXPECT_THAT(generated[1][0].new_tokens, ElementsAre(kA));
  prompt.encoder_ids = at::Tensor();
  EXPECT_USER_ERROR(generate(model, prompt, options), "need the ids of an encoder's prompt");
}

TEST(GreedySearch, AnswersABatchAsItAnswersEachRowAlone) {
  FakeLanguageModel model(history_scores(6, 7));
  GenerationOptions options;
  options.repetition_penalty = 1.3;
  const Generated batch = generate(model, {fake_prompt(8), {}, {}, {}}, options);
  for (std::int64_t row = 0; row < 8; ++row) {
    const Hypothesis alone = generate(model, {fake_prompt(1, 1, row), {}, {}, {}}, options)[0][0];
    EXPECT_EQ(batch[row][0].new_tokens, alone.new_tokens);
    EXPECT_EQ(batch[row][0].token_log_probabilities, alone.token_log_probabilities);
  }
}

TEST(GreedySearch, ShowsTheScoresItDecidedBy) {
  FakeLanguageModel model = counting_model();
  GenerationOptions options;
  options.suppress_tokens = {kB};
  std::vector<StepScores> seen;
  generate(model, with_ids(3, torch::zeros({3, 1}, torch::kLong)), options,
           [&seen](const StepScores& step) { seen.push_back(step); });
  ASSERT_EQ(seen.size(), 3U);
  for (const StepScores& step : seen) EXPECT_EQ(step.scores.size(0), 3);  // also of the rows that are done
  EXPECT_EQ(seen[2].step, 2);
  EXPECT_EQ(seen[1].scores[1][kEnd].item<float>(), 2.0F);
  EXPECT_TRUE(std::isinf(seen[1].scores[1][kB].item<float>()));
}

TEST(Sampling, DrawsTokensAsOftenAsTheyAreLikely) {
  const std::vector<float> logits = {0.0F, 1.0F, 2.0F, -1.0F};
  FakeLanguageModel model([&logits](const Ids&) { return logits; });
  GenerationOptions options;
  options.do_sample = true;
  options.max_new_tokens = 1;
  options.num_return_sequences = 4000;
  options.temperature = 0.8;
  const Generated generated = generate(model, {fake_prompt(1), {}, {}, {}}, options);
  std::vector<double> share(4, 0.0);
  for (const auto& draw : generated[0]) share[draw.new_tokens[0]] += 1.0 / 4000.0;
  const at::Tensor expected = (torch::tensor(logits) / 0.8).softmax(0);
  for (std::int64_t token = 0; token < 4; ++token) {
    EXPECT_NEAR(share[token], expected[token].item<double>(), 0.03) << token;
  }
}

TEST(Sampling, DependsOnTheSeedAndOnNothingElse) {
  FakeLanguageModel model(history_scores(20, 3));
  GenerationOptions options;
  options.do_sample = true;
  options.num_return_sequences = 3;
  const auto tokens = [&](std::int64_t seed) {
    options.seed = seed;
    std::vector<Ids> all;
    for (const auto& row : generate(model, {fake_prompt(2), {}, {}, {}}, options)) {
      for (const auto& draw : row) all.push_back(draw.new_tokens);
    }
    return all;
  };
  const auto first = tokens(5);
  torch::manual_seed(99);
  const at::Tensor untouched = torch::rand({3});
  torch::manual_seed(99);
  EXPECT_EQ(tokens(5), first);
  EXPECT_TRUE(torch::equal(torch::rand({3}), untouched)) << "the global generator was used";
  EXPECT_NE(tokens(6), first);
  EXPECT_NE(first[0], first[1]);
}

TEST(Sampling, OfTheLikeliestTokenIsGreedySearch) {
  FakeLanguageModel model(history_scores(6, 11));
  GenerationOptions options;
  const Generated greedy = generate(model, {fake_prompt(5), {}, {}, {}}, options);
  options.do_sample = true;
  options.top_k = 1;
  const Generated sampled = generate(model, {fake_prompt(5), {}, {}, {}}, options);
  for (std::size_t row = 0; row < 5; ++row) EXPECT_EQ(sampled[row][0].ids, greedy[row][0].ids);
}

TEST(Generation, RefusesWhatLeavesNoRoomForAnAnswer) {
  FakeLanguageModel model = counting_model();
  GenerationOptions options;
  options.max_length = 5;
  EXPECT_USER_ERROR(generate(model, with_ids(1, torch::zeros({1, 5}, torch::kLong)), options),
                    "max_length is 5 and the prompt takes 5 ids, which leaves no room for an answer; raise max_length");
  model.positions = 8;
  options = {};
  options.max_new_tokens = 5;
  EXPECT_USER_ERROR(generate(model, {fake_prompt(1, 5), {}, {}, {}}, options),
                    "a prompt of 5 positions and 5 new tokens do not fit into the language model's 8 positions");
  options.max_new_tokens = 4;
  EXPECT_NO_THROW(generate(model, {fake_prompt(1, 5), {}, {}, {}}, options));
  EXPECT_TRUE(model.begin_rows.size() == 1) << "what is refused must not reach the model";
}

TEST(Generation, RefusesTokensOutsideTheVocabulary) {
  FakeLanguageModel model = counting_model();
  GenerationOptions options;
  options.suppress_tokens = {4};
  EXPECT_USER_ERROR(generate(model, {fake_prompt(1), {}, {}, {}}, options),
                    "suppress_tokens names token 4, the vocabulary has ids 0 to 3");
}

TEST(Generation, RefusesScoresThatAreNotNumbers) {
  FakeLanguageModel model([](const Ids&) { return std::vector<float>(4, std::nanf("")); });
  for (const std::int64_t beams : {1, 2}) {
    GenerationOptions options;
    options.num_beams = beams;
    try {
      generate(model, {fake_prompt(1), {}, {}, {}}, options);
      ADD_FAILURE() << "did not throw";
    } catch (const c10::Error& error) {
      EXPECT_THAT(error.what(), ::testing::HasSubstr("the language model's scores are not numbers (NaN)"));
    }
  }
}

}  // namespace
}  // namespace blip2
