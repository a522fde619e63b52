// Answers as a tree of tokens: each step extends every distinct beginning by each of its distinct next tokens.
#include "blip2/generate/rank_answers.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <string>

#include "blip2/core/error.h"

namespace blip2 {
namespace {

/** A row of the state: the answers of one prompt row that begin with the same tokens. */
struct Branch {
  std::size_t prompt_row = 0;
  std::vector<std::size_t> answers;
};

void validate_answers(const std::vector<std::vector<std::int64_t>>& answers, std::int64_t vocabulary) {
  for (std::size_t a = 0; a < answers.size(); ++a) {
    if (answers[a].empty()) throw UserError("rank answers: answer " + std::to_string(a) + " has no tokens");
    for (const std::int64_t id : answers[a]) {
      if (id >= 0 && id < vocabulary) continue;
      throw UserError("rank answers: answer " + std::to_string(a) + " holds token " + std::to_string(id) +
                      ", the vocabulary has ids 0 to " + std::to_string(vocabulary - 1));
    }
  }
}

}  // namespace

std::vector<std::vector<AnswerScore>> score_answers(LanguageModel& model, const Prompt& prompt,
                                                    const std::vector<std::vector<std::int64_t>>& answers) {
  const at::NoGradGuard no_grad;
  auto [state, logits] = model.begin(prompt);
  validate_answers(answers, logits.size(1));
  const auto rows = static_cast<std::size_t>(logits.size(0));
  std::vector<std::vector<AnswerScore>> scores(rows, std::vector<AnswerScore>(answers.size()));

  std::vector<Branch> branches(rows, {0, std::vector<std::size_t>(answers.size())});
  for (std::size_t b = 0; b < rows; ++b) {
    branches[b].prompt_row = b;
    std::iota(branches[b].answers.begin(), branches[b].answers.end(), std::size_t{0});
  }
  for (std::size_t depth = 0; !answers.empty(); ++depth) {
    std::vector<std::int64_t> asked_rows;
    std::vector<std::int64_t> asked_tokens;
    std::vector<Branch> asked;
    for (std::size_t r = 0; r < branches.size(); ++r) {
      std::map<std::int64_t, Branch> by_token;
      for (const std::size_t a : branches[r].answers) {
        Branch& branch = by_token[answers[a][depth]];
        branch.prompt_row = branches[r].prompt_row;
        branch.answers.push_back(a);
      }
      for (auto& [token, branch] : by_token) {
        asked_rows.push_back(static_cast<std::int64_t>(r));
        asked_tokens.push_back(token);
        asked.push_back(std::move(branch));
      }
    }
    const at::Device device = logits.device();
    const at::Tensor chosen = logits.to(at::kFloat)
                                  .log_softmax(-1)
                                  .index({at::tensor(asked_rows).to(device), at::tensor(asked_tokens).to(device)})
                                  .to(at::kCPU, at::kDouble);
    const double* value = chosen.const_data_ptr<double>();

    std::vector<std::int64_t> parents;
    std::vector<std::int64_t> tokens;
    branches.clear();
    for (std::size_t i = 0; i < asked.size(); ++i) {
      Branch longer{asked[i].prompt_row, {}};
      for (const std::size_t a : asked[i].answers) {
        scores[longer.prompt_row][a].token_log_probabilities.push_back(value[i]);
        if (answers[a].size() > depth + 1) longer.answers.push_back(a);
      }
      if (longer.answers.empty()) continue;
      parents.push_back(asked_rows[i]);
      tokens.push_back(asked_tokens[i]);
      branches.push_back(std::move(longer));
    }
    if (branches.empty()) break;
    state->reorder(at::tensor(parents).to(device));
    logits = model.step(*state, at::tensor(tokens).to(device));
  }
  for (auto& row : scores) {
    for (auto& score : row) {
      const auto& values = score.token_log_probabilities;
      score.sum = std::accumulate(values.begin(), values.end(), 0.0);
      score.mean = score.sum / static_cast<double>(values.size());
    }
  }
  return scores;
}

std::vector<std::int64_t> rank_answers(const std::vector<AnswerScore>& scores, RankBy by) {
  std::vector<std::int64_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  const auto value = [&](std::int64_t i) { return by == RankBy::kSum ? scores[i].sum : scores[i].mean; };
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) { return value(a) > value(b); });
  return order;
}

}  // namespace blip2
