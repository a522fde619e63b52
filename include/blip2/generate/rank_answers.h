// Ranks given answers by their log-probability: closed-set VQA and classification. The prompt is read once and answers
// that begin alike share their beginning. How an answer becomes ids is the caller's matter: OPT takes " " + answer and
// the end token, T5 the answer with its end token.
#pragma once

#include <cstdint>
#include <vector>

#include "blip2/lm/language_model.h"

namespace blip2 {

struct AnswerScore {
  std::vector<double> token_log_probabilities;  // natural logarithm, one per id
  double sum = 0.0;
  double mean = 0.0;  // sum / number of ids: does not favour short answers
};

/**
 * Log-probabilities of the answers after each of the prompt's B rows -> [B][answers]. All answers run side by side: the
 * state holds up to B * answers rows. No gradients are recorded. Throws UserError when an answer is empty, holds an
 * id that the model does not have or is too long for its positions.
 */
std::vector<std::vector<AnswerScore>> score_answers(LanguageModel& model, const Prompt& prompt,
                                                    const std::vector<std::vector<std::int64_t>>& answers);

enum class RankBy { kSum, kMean };

/** Indices of the answers, likeliest first; equal ones keep their order. */
std::vector<std::int64_t> rank_answers(const std::vector<AnswerScore>& scores, RankBy by = RankBy::kSum);

}  // namespace blip2
