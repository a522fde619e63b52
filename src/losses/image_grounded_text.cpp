#include "blip2/losses/image_grounded_text.h"

#include <torch/torch.h>

#include "blip2/nn/autocast.h"

namespace blip2 {

at::Tensor image_grounded_text(const at::Tensor& logits, const at::Tensor& labels, double label_smoothing) {
  TORCH_CHECK(logits.dim() == 3 && labels.sizes() == logits.sizes().slice(0, 2),
              "image_grounded_text: expected logits [B, T, V] and labels [B, T], got ", logits.sizes(), " and ",
              labels.sizes());
  const std::int64_t length = logits.size(1);
  const at::Tensor targets = labels.slice(1, 1, length), counts = targets.ne(-100);
  return word_cross_entropy(logits.slice(1, 0, length - 1).index({counts}), targets.index({counts}), label_smoothing);
}

at::Tensor word_cross_entropy(const at::Tensor& logits, const at::Tensor& labels, double label_smoothing) {
  if (labels.numel() == 0) return logits.sum();  // 0, and a gradient of 0 for what gave the logits
  return torch::cross_entropy_loss(at_least_float(logits), labels, {}, at::Reduction::Mean, -100, label_smoothing);
}

}  // namespace blip2
