// Greedy search and sampling (Hugging Face specification, section 7.4): one token at a time, no second thoughts.
#include <ATen/ATen.h>

#include <numeric>

#include "generate/search.h"

namespace blip2::detail {
namespace {

std::vector<std::int64_t> choose(const Search& search, const at::Tensor& scores,
                                 std::vector<double>& log_probabilities) {
  const at::Tensor next = search.options.do_sample
                              ? at::multinomial(scores.softmax(-1), 1, /*replacement=*/false, search.generator)
                              : scores.argmax(-1, /*keepdim=*/true);
  const at::Tensor chosen = scores.log_softmax(-1).gather(1, next).squeeze(1).to(at::kCPU, at::kDouble);
  const at::Tensor tokens = next.squeeze(1).cpu();
  TORCH_CHECK(!chosen.isnan().any().item<bool>(), "generate: the language model's scores are not numbers (NaN)");
  log_probabilities.assign(chosen.const_data_ptr<double>(), chosen.const_data_ptr<double>() + chosen.numel());
  return {tokens.const_data_ptr<std::int64_t>(), tokens.const_data_ptr<std::int64_t>() + tokens.numel()};
}

}  // namespace

Generated token_search(Search search) {
  const std::int64_t rows = search.prompt.ids.size(0);
  const std::int64_t width = search.options.num_return_sequences;
  const std::int64_t fill = search.special.padding >= 0 ? search.special.padding : search.special.end;
  const at::Device device = search.logits.device();
  Generated generated(static_cast<std::size_t>(rows), std::vector<Hypothesis>(static_cast<std::size_t>(width)));
  const auto hypothesis = [&](std::int64_t row) -> Hypothesis& { return generated[row / width][row % width]; };

  IdRows ids(search.prompt, search.limits.max_length);
  std::vector<std::int64_t> active(static_cast<std::size_t>(rows * width));  // which hypothesis each row extends
  std::iota(active.begin(), active.end(), 0);
  if (width > 1) {
    std::vector<std::int64_t> parents;
    for (const std::int64_t row : active) parents.push_back(row / width);
    ids.select(parents);
    search.state->reorder(long_tensor(parents, device));
    search.logits = search.logits.index_select(0, long_tensor(parents, device));
  }

  std::vector<bool> finished(active.size(), false);
  for (std::int64_t step = 0;; ++step) {
    const at::Tensor scores = process(search.processors, ids.history(), search.logits.to(at::kFloat));
    if (search.observer) search.observer({step, scores});
    std::vector<double> log_probabilities;
    std::vector<std::int64_t> tokens = choose(search, scores, log_probabilities);

    std::vector<std::int64_t> open;
    for (std::size_t r = 0; r < tokens.size(); ++r) {
      if (finished[r]) {
        tokens[r] = fill;
        continue;
      }
      Hypothesis& row = hypothesis(active[r]);
      row.new_tokens.push_back(tokens[r]);
      row.token_log_probabilities.push_back(log_probabilities[r]);
      row.score += log_probabilities[r];
      finished[r] = tokens[r] == search.special.end;
      if (!finished[r]) open.push_back(static_cast<std::int64_t>(r));
    }
    ids.append(tokens);
    if (open.empty() || ids.length() == search.limits.max_length) break;

    if (open.size() < tokens.size() && !search.options.do_sample && !search.observer) {
      search.state->reorder(long_tensor(open, device));
      ids.select(open);
      for (std::size_t r = 0; r < open.size(); ++r) {
        active[r] = active[open[r]];
        tokens[r] = tokens[open[r]];
      }
      active.resize(open.size());
      tokens.resize(open.size());
      finished.assign(open.size(), false);
    }
    search.logits = search.model.step(*search.state, long_tensor(tokens, device));
  }
  complete_rows(search.prompt, fill, generated);
  return generated;
}

}  // namespace blip2::detail
