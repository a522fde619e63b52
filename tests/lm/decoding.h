// Facts that hold for every language model: decoding by steps equals reading everything at once, rows of a batch do not
// know each other, and reordered rows continue what they were. Written once over the interface; `full` recomputes.
#pragma once

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <functional>
#include <vector>

#include "blip2/lm/language_model.h"
#include "blip2/nn/weight_options.h"

namespace blip2 {

/** The same random model on every call, in float64 and evaluation mode. */
template <typename Model, typename Options>
Model double_model(const Options& options) {
  torch::manual_seed(5);
  WeightOptions weights;
  weights.dtype = at::kDouble;
  Model model(options, weights);
  model->eval();
  return model;
}

/** Logits [R, vocabulary] after the ids [R, n] that follow a prompt, by a full pass without any cache. */
using FullPass = std::function<at::Tensor(const Prompt& prompt, const at::Tensor& ids)>;

inline double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

inline Prompt select_rows(const Prompt& prompt, const at::Tensor& rows) {
  return {prompt.embeds.index_select(0, rows), prompt.mask.index_select(0, rows)};
}

/** Random embeddings [rows, length, width]; row r has r tokens of padding, in front or behind. */
inline Prompt padded_prompt(LanguageModel& model, std::int64_t rows, std::int64_t length, bool in_front) {
  const auto dtype = model.module().parameters().front().scalar_type();
  Prompt prompt{torch::randn({rows, length, model.width()}, dtype), torch::ones({rows, length}, torch::kLong)};
  for (std::int64_t row = 0; row < rows; ++row) {
    prompt.mask[row].narrow(0, in_front ? 0 : length - row, row).zero_();
  }
  return prompt;
}

/** Greedy ids [B, steps] by steps; each step's logits must equal the full pass. */
inline at::Tensor expect_steps_equal_full_passes(LanguageModel& model, const Prompt& prompt, int steps,
                                                 double tolerance, const FullPass& full) {
  auto [state, logits] = model.begin(prompt);
  at::Tensor ids = torch::empty({prompt.embeds.size(0), 0}, torch::kLong);
  for (int step = 0; step < steps; ++step) {
    EXPECT_LE(largest_difference(logits, full(prompt, ids)), tolerance) << "step " << step;
    const at::Tensor next = logits.argmax(1);
    ids = torch::cat({ids, next.unsqueeze(1)}, 1);
    logits = model.step(*state, next);
  }
  EXPECT_LE(largest_difference(logits, full(prompt, ids)), tolerance);
  return ids;
}

/**
 * Fans out into beams, then reorders inside groups, across them and to fewer rows, as searches do; after every reorder
 * the next logits must equal the full pass over the rows that should be there.
 */
inline void expect_reorder_keeps_histories(LanguageModel& model, const Prompt& prompt, double tolerance,
                                           const FullPass& full) {
  ASSERT_EQ(prompt.embeds.size(0), 3);
  auto [state, logits] = model.begin(prompt);
  at::Tensor ids = torch::empty({3, 0}, torch::kLong), source = torch::arange(3, torch::kLong);
  const std::vector<std::vector<std::int64_t>> orders = {
      {0, 0, 1, 1, 2, 2},  // two beams each
      {1, 0, 3, 3, 4, 5},  // inside the groups
      {0, 1, 4, 5},        // the second group is done
      {3, 0, 0, 2, 1},     // anything
      {4},
  };
  for (std::size_t i = 0; i < orders.size(); ++i) {
    const at::Tensor rows = torch::tensor(orders[i], torch::kLong);
    state->reorder(rows);
    ids = ids.index_select(0, rows);
    source = source.index_select(0, rows);
    const at::Tensor next = torch::randint(3, logits.size(1), {rows.size(0)}, torch::kLong);
    ids = torch::cat({ids, next.unsqueeze(1)}, 1);
    logits = model.step(*state, next);
    EXPECT_LE(largest_difference(logits, full(select_rows(prompt, source), ids)), tolerance) << "reorder " << i;
  }
}

/** Every row of a padded batch must give what it gives alone, without its padding. */
inline void expect_batch_equals_single_rows(LanguageModel& model, const Prompt& prompt, const at::Tensor& ids,
                                            double tolerance) {
  auto run = [&](const Prompt& given, const at::Tensor& following) {
    auto [state, logits] = model.begin(given);
    std::vector<at::Tensor> all{logits};
    for (std::int64_t i = 0; i < following.size(1); ++i) all.push_back(model.step(*state, following.select(1, i)));
    return torch::stack(all, 1);
  };
  const at::Tensor batch = run(prompt, ids);
  for (std::int64_t row = 0; row < prompt.embeds.size(0); ++row) {
    const at::Tensor kept = prompt.mask[row].nonzero().squeeze(1);
    const Prompt single{prompt.embeds[row].index_select(0, kept).unsqueeze(0),
                        prompt.mask[row].index_select(0, kept).unsqueeze(0)};
    EXPECT_LE(largest_difference(batch[row], run(single, ids.narrow(0, row, 1))[0]), tolerance) << "row " << row;
  }
}

}  // namespace blip2
