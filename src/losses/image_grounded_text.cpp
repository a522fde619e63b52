#include "blip2/losses/image_grounded_text.h"

#include <torch/torch.h>

namespace blip2 {

at::Tensor image_grounded_text(const at::Tensor& logits, const at::Tensor& labels, double label_smoothing) {
  TORCH_CHECK(logits.dim() == 3 && labels.sizes() == logits.sizes().slice(0, 2),
              "image_grounded_text: expected logits [B, T, V] and labels [B, T], got ", logits.sizes(), " and ",
              labels.sizes());
  const std::int64_t length = logits.size(1), vocabulary = logits.size(2);
  const at::Tensor predictions = logits.slice(1, 0, length - 1).reshape({-1, vocabulary});
  const at::Tensor targets = labels.slice(1, 1, length).reshape({-1});
  const at::Tensor count = targets.ne(-100).sum().clamp_min(1);
  const at::Tensor sum = torch::cross_entropy_loss(predictions, targets, {}, at::Reduction::Sum, -100, label_smoothing);
  return sum / count;
}

}  // namespace blip2
