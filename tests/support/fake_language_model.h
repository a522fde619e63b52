// A language model whose next-token scores are any function of what a row has read: lets tests of search know every
// probability. The first number of a row's prompt embeds is the row's name; it begins the row's history.
#pragma once

#include <torch/torch.h>

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "blip2/core/random.h"
#include "blip2/lm/language_model.h"

namespace blip2 {

class FakeLanguageModel final : public LanguageModel {
 public:
  using Ids = std::vector<std::int64_t>;
  /** Logits of the next token after {row name, fed tokens...}. */
  using Scores = std::function<std::vector<float>(const Ids& history)>;

  explicit FakeLanguageModel(Scores scores) : scores_(std::move(scores)) {}

  SpecialIds special{/*padding=*/3, /*beginning=*/-1, /*end=*/0, /*decoder_start=*/-1};
  bool encoder_decoder = false;
  std::int64_t positions = -1;
  std::vector<std::int64_t> begin_rows;  // rows of each call of begin
  std::vector<std::int64_t> step_rows;   // rows of each call of step

  std::int64_t width() const override { return 2; }
  at::Tensor embed(const at::Tensor& ids) override { return ids.unsqueeze(-1).expand({-1, -1, 2}).to(torch::kFloat); }
  at::Tensor loss(const Prompt&, const at::Tensor&) override { return torch::zeros({}); }
  SpecialIds special_ids() const override { return special; }
  bool is_encoder_decoder() const override { return encoder_decoder; }
  std::int64_t max_positions() const override { return positions; }
  torch::nn::Module& module() override { return module_; }

  std::pair<std::unique_ptr<DecodingState>, at::Tensor> begin(const Prompt& prompt) override {
    auto state = std::make_unique<State>();
    for (std::int64_t row = 0; row < prompt.embeds.size(0); ++row) {
      state->rows.push_back({static_cast<std::int64_t>(prompt.embeds[row][0][0].item<float>())});
    }
    begin_rows.push_back(prompt.embeds.size(0));
    at::Tensor logits = logits_of(*state);
    return {std::move(state), logits};
  }

  at::Tensor step(DecodingState& state, const at::Tensor& ids) override {
    auto& rows = static_cast<State&>(state).rows;
    TORCH_CHECK(ids.dim() == 1 && ids.size(0) == static_cast<std::int64_t>(rows.size()));
    for (std::size_t row = 0; row < rows.size(); ++row) rows[row].push_back(ids[row].item<std::int64_t>());
    step_rows.push_back(ids.size(0));
    return logits_of(static_cast<State&>(state));
  }

 private:
  struct State final : DecodingState {
    void reorder(const at::Tensor& order) override {
      std::vector<Ids> old = rows;
      rows.clear();
      for (std::int64_t i = 0; i < order.size(0); ++i) rows.push_back(old.at(order[i].item<std::int64_t>()));
    }
    std::vector<Ids> rows;
  };

  at::Tensor logits_of(const State& state) const {
    std::vector<at::Tensor> rows;
    for (const auto& row : state.rows) rows.push_back(torch::tensor(scores_(row)));
    return torch::stack(rows);
  }

  Scores scores_;
  torch::nn::Module module_;
};

/** Scores that depend on the whole history, as good as random, the same in every run. */
inline FakeLanguageModel::Scores history_scores(std::size_t vocabulary, std::uint64_t seed) {
  return [vocabulary, seed](const FakeLanguageModel::Ids& history) {
    std::uint64_t key = seed;
    for (const std::int64_t id : history) key = Random({key, static_cast<std::uint64_t>(id)}).bits();
    Random random({key});
    std::vector<float> scores(vocabulary);
    for (float& score : scores) score = static_cast<float>(random.uniform(-2.0, 2.0));
    return scores;
  };
}

/** B rows named 0, 1, ... (or from `first`) of a prompt of `length` positions. */
inline Prompt fake_prompt(std::int64_t rows, std::int64_t length = 1, std::int64_t first = 0) {
  const at::Tensor names = torch::arange(first, first + rows, torch::kFloat).view({rows, 1, 1});
  return {names.expand({rows, length, 2}), torch::ones({rows, length}, torch::kLong)};
}

}  // namespace blip2
