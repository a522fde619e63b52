#include "blip2/eval/retrieval.h"

#include <torch/torch.h>

namespace blip2 {
namespace {

/** scores [Q, A] with `right` [Q, A] true where an answer is right. */
Recall recall(const at::Tensor& scores, const at::Tensor& right) {
  const double lowest = -std::numeric_limits<double>::infinity();
  const at::Tensor best = std::get<0>(scores.masked_fill(right.logical_not(), lowest).max(1, true));
  // Rank of the best right answer: how many wrong ones score at least as high.
  const at::Tensor rank = scores.ge(best).logical_and(right.logical_not()).sum(1);
  auto within = [&](std::int64_t k) { return rank.lt(k).to(torch::kDouble).mean().item<double>(); };
  return {within(1), within(5), within(10)};
}

}  // namespace

RetrievalScores retrieval_scores(const at::Tensor& scores, const std::vector<std::int64_t>& image_ids,
                                 const std::vector<std::int64_t>& text_ids) {
  TORCH_CHECK(scores.dim() == 2 && scores.size(0) == static_cast<std::int64_t>(image_ids.size()) &&
                  scores.size(1) == static_cast<std::int64_t>(text_ids.size()),
              "retrieval_scores: expected scores [", image_ids.size(), ", ", text_ids.size(), "], got ",
              scores.sizes());
  const at::Tensor precise = scores.to(torch::kDouble);
  const at::Tensor right =
      torch::tensor(image_ids, torch::kLong).view({-1, 1}).eq(torch::tensor(text_ids, torch::kLong).view({1, -1}));
  return {recall(precise, right), recall(precise.t(), right.t())};
}

}  // namespace blip2
