#include "blip2/losses/hard_negatives.h"

#include <torch/torch.h>

namespace blip2 {

at::Tensor negative_weights(const at::Tensor& similarities, std::int64_t first_row, const at::Tensor& ids,
                            const at::Tensor& all_ids, NegativeRule rule) {
  torch::NoGradGuard no_grad;
  const std::int64_t batch = similarities.size(0), all = similarities.size(1);
  TORCH_CHECK(first_row >= 0 && first_row + batch <= all, "negative_weights: rows ", first_row, " to ",
              first_row + batch, " do not lie among ", all, " gathered ones");
  at::Tensor own = torch::zeros({batch, all}, similarities.options().dtype(torch::kBool));
  own.slice(1, first_row, first_row + batch).fill_diagonal_(true);
  if (rule == NegativeRule::kSoftmaxThenMask) {
    return (similarities.softmax(1) + 1e-4).masked_fill(own, 0.0);
  }
  if (ids.defined()) own = own.logical_or(ids.view({-1, 1}).eq(all_ids.view({1, -1})));
  return similarities.masked_fill(own, -10000.0).softmax(1);
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
