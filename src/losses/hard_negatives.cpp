#include "blip2/losses/hard_negatives.h"

#include <torch/torch.h>

namespace blip2 {

at::Tensor positive_mask(std::int64_t batch, std::int64_t all, std::int64_t first_row, const at::Tensor& ids,
                         const at::Tensor& all_ids) {
  TORCH_CHECK(first_row >= 0 && first_row + batch <= all, "positive_mask: rows ", first_row, " to ", first_row + batch,
              " do not lie among ", all, " gathered ones");
  at::Tensor positives = torch::zeros({batch, all}, torch::kBool);
  positives.slice(1, first_row, first_row + batch).fill_diagonal_(true);
  if (!ids.defined()) return positives;
  return positives.to(ids.device()).logical_or(ids.view({-1, 1}).eq(all_ids.view({1, -1})));
}

at::Tensor negative_weights(const at::Tensor& similarities, std::int64_t first_row, const at::Tensor& ids,
                            const at::Tensor& all_ids, NegativeRule rule) {
  torch::NoGradGuard no_grad;
  const bool ignores_ids = rule == NegativeRule::kSoftmaxThenMask;
  const at::Tensor positives =
      positive_mask(similarities.size(0), similarities.size(1), first_row, ignores_ids ? at::Tensor() : ids, all_ids)
          .to(similarities.device());
  if (ignores_ids) return (similarities.softmax(1) + 1e-4).masked_fill(positives, 0.0);
  return similarities.masked_fill(positives, -10000.0).softmax(1);
}

HardNegatives draw_hard_negatives(const at::Tensor& image_to_text_weights, const at::Tensor& text_to_image_weights,
                                  std::optional<at::Generator> generator) {
  torch::NoGradGuard no_grad;
  auto draw = [&](const at::Tensor& weights) {
    // kSoftmaxThenMask leaves a single sample without any weight, and similarities that are not finite leave NaN, whose
    // loss the trainer skips; multinomial refuses such rows.
    const at::Tensor sums = weights.sum(1, true);
    const at::Tensor usable = sums.isfinite().logical_and(sums.gt(0));
    const at::Tensor rows = torch::where(usable, weights, torch::ones_like(weights));
    return rows.multinomial(1, /*replacement=*/false, generator).squeeze(1);
  };
  HardNegatives negatives;
  negatives.image_rows = draw(text_to_image_weights);
  negatives.text_rows = draw(image_to_text_weights);
  return negatives;
}

}  // namespace blip2
