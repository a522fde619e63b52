// Beam search against full enumeration, against hand-computed examples, and against itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "blip2/generate/generate.h"
#include "support/fake_language_model.h"

namespace blip2 {
namespace {

using ::testing::ElementsAre;
using Ids = FakeLanguageModel::Ids;

constexpr std::int64_t kEnd = 0, kA = 1, kB = 2, kPadding = 3;

/** Probabilities of (end, A, B) after the tokens said so far; after anything not in the table the end is certain. */
FakeLanguageModel table_model(std::map<Ids, std::vector<float>> table) {
  return FakeLanguageModel([table = std::move(table)](const Ids& history) {
    const auto found = table.find(Ids(history.begin() + 1, history.end()));
    std::vector<float> scores = found == table.end() ? std::vector<float>{1.0F, 0.0F, 0.0F} : found->second;
    for (float& score : scores) score = score > 0.0F ? std::log(score) : -40.0F;
    scores.push_back(-40.0F);
    return scores;
  });
}

GenerationOptions beams(std::int64_t count) {
  GenerationOptions options;
  options.num_beams = count;
  options.max_new_tokens = 10;
  return options;
}

GenerationPrompt plain(std::int64_t rows, std::int64_t first = 0) {
  return {fake_prompt(rows, 1, first), {}, {}, {}};
}

struct Sequence {
  Ids tokens;
  double sum;
};

/** Every answer of at most `longest` tokens with its log-probability. */
void enumerate(const FakeLanguageModel::Scores& scores, std::size_t longest, Ids history, double sum,
               std::vector<Sequence>& found) {
  const at::Tensor next = torch::tensor(scores(history)).to(torch::kDouble).log_softmax(0);
  for (std::int64_t token = 0; token < next.size(0); ++token) {
    Ids longer = history;
    longer.push_back(token);
    const double total = sum + next[token].item<double>();
    if (token == kEnd || longer.size() - 1 == longest) {
      found.push_back({Ids(longer.begin() + 1, longer.end()), total});
    } else {
      enumerate(scores, longest, longer, total, found);
    }
  }
}

TEST(BeamSearch, WithEnoughBeamsFindsWhatEnumerationFinds) {
  for (const std::uint64_t seed : {1, 2, 3}) {
    const auto scores = history_scores(4, seed);
    std::vector<Sequence> all;
    enumerate(scores, 4, {0}, 0.0, all);
    for (const double penalty : {-1.0, 0.0, 0.7, 1.0, 2.0}) {
      const auto score = [penalty](const Sequence& s) {
        return s.sum / std::pow(static_cast<double>(s.tokens.size()), penalty);
      };
      std::sort(all.begin(), all.end(), [&](const Sequence& a, const Sequence& b) { return score(a) > score(b); });
      GenerationOptions options = beams(128);  // 108 open ends at most
      options.max_new_tokens = 4;
      options.num_return_sequences = 20;
      options.length_penalty = penalty;
      FakeLanguageModel model(scores);
      const auto found = generate(model, plain(1), options)[0];
      ASSERT_EQ(found.size(), 20U);
      for (std::size_t i = 0; i < found.size(); ++i) {
        EXPECT_EQ(found[i].new_tokens, all[i].tokens) << "seed " << seed << " penalty " << penalty << " rank " << i;
        EXPECT_NEAR(found[i].score, score(all[i]), 1e-4);
      }
    }
  }
}

/** After A the end is likely, after B it is far away but every step to it is certain. */
FakeLanguageModel short_or_sure() {
  return table_model({{{}, {0.4F, 0.35F, 0.25F}},
                      {{kA}, {0.6F, 0.4F, 0.0F}},
                      {{kB}, {0.04F, 0.0F, 0.96F}},
                      {{kB, kB}, {0.99F, 0.01F, 0.0F}}});
}

TEST(BeamSearch, StopsAtOnceOnlyWhenToldTo) {
  // Two are finished after two steps: (end) with ln .4 and (A, end) with ln .21 / 2; the beam (B, B) is better.
  GenerationOptions options = beams(2);
  FakeLanguageModel model = short_or_sure();
  options.early_stopping = EarlyStopping::kYes;
  const Hypothesis early = generate(model, plain(1), options)[0][0];
  EXPECT_THAT(early.new_tokens, ElementsAre(kA, kEnd));
  EXPECT_NEAR(early.score, std::log(0.35 * 0.6) / 2, 1e-5);
  EXPECT_THAT(model.step_rows, ElementsAre(2));

  options.early_stopping = EarlyStopping::kNo;
  const Hypothesis patient = generate(model, plain(1), options)[0][0];
  EXPECT_THAT(patient.new_tokens, ElementsAre(kB, kB, kEnd));
  EXPECT_NEAR(patient.score, std::log(0.25 * 0.96 * 0.99) / 3, 1e-5);
}

/** (A, A, B) has fallen behind at three tokens, but B is then said for certain up to the largest length. */
FakeLanguageModel long_and_sure() {
  std::map<Ids, std::vector<float>> table = {{{}, {0.2F, 0.5F, 0.3F}},
                                             {{kA}, {0.6F, 0.3F, 0.1F}},
                                             {{kB}, {0.2F, 0.7F, 0.1F}},
                                             {{kB, kA}, {0.9F, 0.1F, 0.0F}},
                                             {{kA, kA}, {0.6F, 0.0F, 0.4F}}};
  Ids prefix = {kA, kA};
  while (prefix.size() < 9) {
    prefix.push_back(kB);
    table[prefix] = {0.0F, 0.0F, 1.0F};
  }
  return table_model(std::move(table));
}

TEST(BeamSearch, LooksAheadToTheLargestLengthWhenItNeverStopsEarly) {
  GenerationOptions options = beams(2);
  FakeLanguageModel model = long_and_sure();
  const auto stopped = generate(model, plain(1), options)[0][0];
  EXPECT_THAT(stopped.new_tokens, ElementsAre(kB, kA, kEnd));
  EXPECT_NEAR(stopped.score, std::log(0.3 * 0.7 * 0.9) / 3, 1e-5);
  EXPECT_EQ(model.step_rows.size(), 2U);

  options.early_stopping = EarlyStopping::kNever;
  const auto full = generate(model, plain(1), options)[0][0];
  EXPECT_THAT(full.new_tokens, ElementsAre(kA, kA, kB, kB, kB, kB, kB, kB, kB, kB));
  EXPECT_NEAR(full.score, std::log(0.5 * 0.3 * 0.4) / 10, 1e-5);

  options.length_penalty = 0.0;  // nothing to look ahead for
  EXPECT_THAT(generate(model, plain(1), options)[0][0].new_tokens, ElementsAre(kA, kEnd));
}

TEST(BeamSearch, PrefersLongAnswersTheMoreTheLengthIsRewarded) {
  FakeLanguageModel model = short_or_sure();
  const auto best = [&model](double penalty) {
    GenerationOptions options = beams(3);
    options.length_penalty = penalty;
    return generate(model, plain(1), options)[0][0].new_tokens;
  };
  EXPECT_THAT(best(-1.0), ElementsAre(kEnd));
  EXPECT_THAT(best(0.0), ElementsAre(kEnd));
  EXPECT_THAT(best(1.0), ElementsAre(kB, kB, kEnd));
}

TEST(BeamSearch, NeverCountsAnEndThatIsNotAmongTheBestBeams) {
  // The end is third at the first step, with two beams: it may not become an answer, likely as it is on its own.
  FakeLanguageModel model = table_model({{{}, {0.32F, 0.34F, 0.34F}}, {{kA}, {0.5F, 0.25F, 0.25F}}});
  GenerationOptions options = beams(2);
  options.num_return_sequences = 2;
  options.length_penalty = 0.0;
  const Generated generated = generate(model, plain(1), options);
  for (const auto& answer : generated[0]) EXPECT_GT(answer.new_tokens.size(), 1U);
}

TEST(BeamSearch, ReturnsAnswersBestFirstWithScoresThatAddUp) {
  FakeLanguageModel model(history_scores(7, 21));
  GenerationOptions options = beams(5);
  options.num_return_sequences = 5;
  options.length_penalty = 0.6;
  for (const auto& row : generate(model, plain(4), options)) {
    ASSERT_EQ(row.size(), 5U);
    double before = 0.0;
    for (const auto& answer : row) {
      double sum = 0.0;
      for (const double value : answer.token_log_probabilities) sum += value;
      ASSERT_EQ(answer.token_log_probabilities.size(), answer.new_tokens.size());
      EXPECT_NEAR(answer.score, sum / std::pow(static_cast<double>(answer.new_tokens.size()), 0.6), 1e-5);
      EXPECT_LE(answer.score, before);
      before = answer.score;
    }
  }
}

TEST(BeamSearch, AnswersABatchAsItAnswersEachRowAlone) {
  FakeLanguageModel model(history_scores(6, 31));
  for (const auto early : {EarlyStopping::kNo, EarlyStopping::kYes, EarlyStopping::kNever}) {
    GenerationOptions options = beams(3);
    options.early_stopping = early;
    options.num_return_sequences = 2;
    options.no_repeat_ngram_size = 2;
    options.min_new_tokens = 2;
    const Generated batch = generate(model, plain(10), options);
    for (std::int64_t row = 0; row < 10; ++row) {
      const auto alone = generate(model, plain(1, row), options)[0];
      for (std::size_t n = 0; n < 2; ++n) {
        EXPECT_EQ(batch[row][n].new_tokens, alone[n].new_tokens) << row;
        EXPECT_EQ(batch[row][n].score, alone[n].score) << row;
      }
    }
  }
}

TEST(BeamSearch, ReadsThePromptOncePerRowAndLeavesFinishedRowsOut) {
  // Row 0 ends at once, row 1 goes on to the largest length.
  FakeLanguageModel model([](const Ids& history) {
    return history.front() == 0 ? std::vector<float>{9.0F, 0.0F, 0.0F, 0.0F}
                                : std::vector<float>{-9.0F, 9.0F, 0.0F, 0.0F};
  });
  GenerationOptions options = beams(2);
  options.max_new_tokens = 5;
  generate(model, plain(2), options);
  EXPECT_THAT(model.begin_rows, ElementsAre(2));
  EXPECT_THAT(model.step_rows, ElementsAre(4, 2, 2, 2));
}

TEST(BeamSearch, FillsWithPaddingUnlessItsIdIsZero) {
  FakeLanguageModel model([](const Ids& history) {
    return history.front() == 0 ? std::vector<float>{9.0F, 0.0F, 0.0F, 0.0F}
                                : std::vector<float>{-9.0F, 9.0F, 0.0F, 0.0F};
  });
  GenerationOptions options = beams(2);
  options.max_new_tokens = 3;
  EXPECT_THAT(generate(model, plain(2), options)[0][0].ids, ElementsAre(kEnd, kPadding, kPadding));
  model.special.end = 1;
  model.special.padding = 0;
  const Generated generated = generate(model, plain(2), options);
  EXPECT_THAT(generated[0][0].ids, ElementsAre(0, 0, 0));
  EXPECT_THAT(generated[1][0].ids, ElementsAre(1, 1, 1));
  EXPECT_THAT(generated[1][0].new_tokens, ElementsAre(1));
}

TEST(BeamSearch, KeepsTheLengthsItWasGiven) {
  FakeLanguageModel model(history_scores(5, 41));
  GenerationPrompt prompt = plain(6);
  prompt.ids = torch::full({6, 3}, 4, torch::kLong);
  GenerationOptions options = beams(3);
  options.max_new_tokens.reset();
  options.max_length = 9;
  options.min_length = 7;
  for (const auto& row : generate(model, prompt, options)) {
    EXPECT_GE(row[0].new_tokens.size(), 5U);  // four without the end token, then it may come
    EXPECT_LE(row[0].ids.size(), 9U);
    EXPECT_THAT(Ids(row[0].ids.begin(), row[0].ids.begin() + 3), ElementsAre(4, 4, 4));
  }
}

TEST(BeamSearch, ForcesTheEndAtTheLargestLength) {
  FakeLanguageModel model([](const Ids&) { return std::vector<float>{-9.0F, 1.0F, 0.0F, 0.0F}; });
  GenerationOptions options = beams(2);
  options.max_new_tokens = 3;
  options.forced_eos_token_id = kEnd;
  EXPECT_THAT(generate(model, plain(1), options)[0][0].new_tokens, ElementsAre(kA, kA, kEnd));
}

TEST(BeamSearch, ShowsTheScoresOfEveryBeam) {
  FakeLanguageModel model = short_or_sure();
  std::vector<StepScores> seen;
  generate(model, plain(2), beams(2), [&seen](const StepScores& step) { seen.push_back(step); });
  ASSERT_GE(seen.size(), 2U);
  EXPECT_EQ(seen[0].scores.size(0), 4);
  EXPECT_NEAR(seen[0].scores[1][kA].item<double>(), std::log(0.35), 1e-5);
  EXPECT_NEAR(seen[1].scores[0][kEnd].item<double>(), std::log(0.6), 1e-5);   // best beam: A
  EXPECT_NEAR(seen[1].scores[1][kEnd].item<double>(), std::log(0.04), 1e-5);  // second: B
}

TEST(BeamSample, DependsOnTheSeedAndKeepsScoresThatAddUp) {
  FakeLanguageModel model(history_scores(12, 51));
  GenerationOptions options = beams(3);
  options.do_sample = true;
  options.num_return_sequences = 3;
  const auto run = [&](std::int64_t seed) {
    options.seed = seed;
    std::vector<Ids> tokens;
    for (const auto& row : generate(model, plain(4), options)) {
      double before = 0.0;
      for (const auto& answer : row) {
        tokens.push_back(answer.new_tokens);
        double sum = 0.0;
        for (const double value : answer.token_log_probabilities) sum += value;
        EXPECT_NEAR(answer.score, sum / static_cast<double>(answer.new_tokens.size()), 1e-5);
        EXPECT_LE(answer.score, before);
        before = answer.score;
      }
    }
    return tokens;
  };
  const auto first = run(1);
  EXPECT_EQ(run(1), first);
  EXPECT_NE(run(2), first);
}

}  // namespace
}  // namespace blip2
