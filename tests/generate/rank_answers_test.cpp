// Scores of given answers are sums of the model's log-probabilities, and computing them shares what can be shared.
#include "blip2/generate/rank_answers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/fake_language_model.h"

namespace blip2 {
namespace {

using ::testing::ElementsAre;
using Ids = FakeLanguageModel::Ids;

TEST(RankAnswers, AddsTheLogProbabilitiesOfTheTokens) {
  const auto scores = history_scores(6, 5);
  FakeLanguageModel model(scores);
  const std::vector<Ids> answers = {{1, 2, 0}, {1, 0}, {4, 4, 4, 0}, {1, 2, 0}, {5}};
  const auto found = score_answers(model, fake_prompt(2), answers);
  ASSERT_EQ(found.size(), 2U);
  for (std::int64_t row = 0; row < 2; ++row) {
    ASSERT_EQ(found[row].size(), answers.size());
    for (std::size_t a = 0; a < answers.size(); ++a) {
      Ids history = {row};
      double sum = 0.0;
      for (std::size_t t = 0; t < answers[a].size(); ++t) {
        const double expected =
            torch::tensor(scores(history)).to(torch::kDouble).log_softmax(0)[answers[a][t]].item<double>();
        EXPECT_NEAR(found[row][a].token_log_probabilities[t], expected, 1e-6);
        sum += expected;
        history.push_back(answers[a][t]);
      }
      EXPECT_NEAR(found[row][a].sum, sum, 1e-5);
      EXPECT_NEAR(found[row][a].mean, sum / static_cast<double>(answers[a].size()), 1e-5);
    }
  }
}

TEST(RankAnswers, ReadsThePromptOnceAndCommonBeginningsOnce) {
  FakeLanguageModel model(history_scores(6, 5));
  score_answers(model, fake_prompt(2), {{1, 2, 0}, {1, 3, 0}, {4, 0}, {5}});
  EXPECT_THAT(model.begin_rows, ElementsAre(2));
  EXPECT_THAT(model.step_rows, ElementsAre(4, 4));  // (1), (4) of two rows; (1, 2), (1, 3) of two rows
}

TEST(RankAnswers, OrdersBySumOrMean) {
  const std::vector<AnswerScore> scores = {{{}, -6.0, -2.0}, {{}, -3.0, -3.0}, {{}, -6.0, -1.0}};
  EXPECT_THAT(rank_answers(scores), ElementsAre(1, 0, 2));
  EXPECT_THAT(rank_answers(scores, RankBy::kMean), ElementsAre(2, 0, 1));
}

TEST(RankAnswers, RefusesAnswersItCannotScore) {
  FakeLanguageModel model(history_scores(6, 5));
  EXPECT_USER_ERROR(score_answers(model, fake_prompt(1), {{1}, {}}), "rank answers: answer 1 has no tokens");
  EXPECT_USER_ERROR(score_answers(model, fake_prompt(1), {{1, 6}}),
                    "rank answers: answer 0 holds token 6, the vocabulary has ids 0 to 5");
  model.positions = 3;
  EXPECT_USER_ERROR(score_answers(model, fake_prompt(1, 2), {{1, 2, 0}}),
                    "rank answers: a prompt of 2 positions and an answer of 3 tokens do not fit into the language "
                    "model's 3 positions");
  EXPECT_NO_THROW(score_answers(model, fake_prompt(1, 2), {{1, 0}}));
  EXPECT_TRUE(score_answers(model, fake_prompt(1), {})[0].empty());
}

}  // namespace
}  // namespace blip2
