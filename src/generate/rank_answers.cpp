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

using Answers = std::vector<std::vector<std::int64_t>>;

/** A row of the state: the answers of one prompt row that begin with the same tokens. */
struct Branch {
  std::int64_t prompt_row = 0;
  std::vector<std::size_t> answers;
};

/** The distinct continuations of the branches by one token. */
struct Fork {
  std::vector<std::int64_t> parents;  // rows of the state
  std::vector<std::int64_t> tokens;
  std::vector<Branch> branches;

  void add(std::int64_t parent, std::int64_t token, Branch branch) {
    parents.push_back(parent);
    tokens.push_back(token);
    branches.push_back(std::move(branch));
  }
};

Fork fork(const std::vector<Branch>& branches, const Answers& answers, std::size_t depth) {
  Fork result;
  for (std::size_t r = 0; r < branches.size(); ++r) {
    std::map<std::int64_t, Branch> by_token;
    for (const std::size_t a : branches[r].answers) {
      Branch& branch = by_token[answers[a][depth]];
      branch.prompt_row = branches[r].prompt_row;
      branch.answers.push_back(a);
    }
    for (auto& [token, branch] : by_token) result.add(static_cast<std::int64_t>(r), token, std::move(branch));
  }
  return result;
}

/** What is left of a fork when the answers that end with it are taken away. */
Fork unfinished(const Fork& all, const Answers& answers, std::size_t depth) {
  Fork result;
  for (std::size_t i = 0; i < all.branches.size(); ++i) {
    Branch branch{all.branches[i].prompt_row, {}};
    for (const std::size_t a : all.branches[i].answers) {
      if (answers[a].size() > depth + 1) branch.answers.push_back(a);
    }
    if (!branch.answers.empty()) result.add(all.parents[i], all.tokens[i], std::move(branch));
  }
  return result;
}

at::Tensor long_tensor(const std::vector<std::int64_t>& values, const at::Tensor& logits) {
  return at::tensor(values, at::kLong).to(logits.device());
}

void validate_answers(const Answers& answers, std::int64_t vocabulary) {
  for (std::size_t a = 0; a < answers.size(); ++a) {
    if (answers[a].empty()) throw UserError("rank answers: answer " + std::to_string(a) + " has no tokens");
    for (const std::int64_t id : answers[a]) {
      if (id >= 0 && id < vocabulary) continue;
      throw UserError("rank answers: answer " + std::to_string(a) + " holds token " + std::to_string(id) +
                      ", the vocabulary has ids 0 to " + std::to_string(vocabulary - 1));
    }
  }
}

void check_positions(const LanguageModel& model, const Prompt& prompt, const Answers& answers) {
  if (model.max_positions() < 0) return;
  const std::int64_t taken = model.is_encoder_decoder() ? 1 : prompt.embeds.size(1);
  for (const auto& answer : answers) {
    const auto length = static_cast<std::int64_t>(answer.size());
    if (taken + length - 1 <= model.max_positions()) continue;  // the last token is not fed
    throw UserError("rank answers: a prompt of " + std::to_string(taken) + " positions and an answer of " +
                    std::to_string(length) + " tokens do not fit into the language model's " +
                    std::to_string(model.max_positions()) + " positions");
  }
}

}  // namespace

std::vector<std::vector<AnswerScore>> score_answers(LanguageModel& model, const Prompt& prompt,
                                                    const std::vector<std::vector<std::int64_t>>& answers) {
  check_positions(model, prompt, answers);
  const at::NoGradGuard no_grad;
  auto [state, logits] = model.begin(prompt);
  validate_answers(answers, logits.size(1));
  const auto rows = static_cast<std::size_t>(logits.size(0));
  std::vector<std::vector<AnswerScore>> scores(rows, std::vector<AnswerScore>(answers.size()));

  std::vector<Branch> branches(rows);
  for (std::size_t b = 0; b < rows; ++b) {
    branches[b].prompt_row = static_cast<std::int64_t>(b);
    branches[b].answers.resize(answers.size());
    std::iota(branches[b].answers.begin(), branches[b].answers.end(), std::size_t{0});
  }
  for (std::size_t depth = 0; !answers.empty(); ++depth) {
    const Fork asked = fork(branches, answers, depth);
    const at::Tensor chosen = logits.to(at::kFloat)
                                  .log_softmax(-1)
                                  .index({long_tensor(asked.parents, logits), long_tensor(asked.tokens, logits)})
                                  .to(at::kCPU, at::kDouble);
    for (std::size_t i = 0; i < asked.branches.size(); ++i) {
      for (const std::size_t a : asked.branches[i].answers) {
        scores[asked.branches[i].prompt_row][a].token_log_probabilities.push_back(chosen.const_data_ptr<double>()[i]);
      }
    }
    Fork next = unfinished(asked, answers, depth);
    if (next.branches.empty()) break;
    state->reorder(long_tensor(next.parents, logits));
    logits = model.step(*state, long_tensor(next.tokens, logits));
    branches = std::move(next.branches);
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
