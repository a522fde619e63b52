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

RetrievalScores retrieval_scores(const at::Tensor& image_to_text, const at::Tensor& text_to_image,
                                 const std::vector<std::int64_t>& image_ids,
                                 const std::vector<std::int64_t>& text_ids) {
  const auto images = static_cast<std::int64_t>(image_ids.size()), texts = static_cast<std::int64_t>(text_ids.size());
  TORCH_CHECK(image_to_text.sizes() == at::IntArrayRef({images, texts}) &&
                  text_to_image.sizes() == at::IntArrayRef({texts, images}),
              "retrieval_scores: expected scores [", images, ", ", texts, "] and the other way round, got ",
              image_to_text.sizes(), " and ", text_to_image.sizes());
  const at::Tensor right =
      torch::tensor(image_ids, torch::kLong).view({-1, 1}).eq(torch::tensor(text_ids, torch::kLong).view({1, -1}));
  return {recall(image_to_text.to(torch::kDouble), right), recall(text_to_image.to(torch::kDouble), right.t())};
}

RetrievalScores retrieval_scores(const at::Tensor& scores, const std::vector<std::int64_t>& image_ids,
                                 const std::vector<std::int64_t>& text_ids) {
  TORCH_CHECK(scores.dim() == 2, "retrieval_scores: expected scores [images, texts], got ", scores.sizes());
  return retrieval_scores(scores, scores.t(), image_ids, text_ids);
}

}  // namespace blip2
