#include "blip2/losses/image_text_matching.h"

#include <torch/torch.h>

#include "blip2/nn/autocast.h"

namespace blip2 {

at::Tensor matching_logits(const at::Tensor& per_query_logits) {
  return at_least_float(per_query_logits).mean(1);
}

at::Tensor image_text_matching(const at::Tensor& logits, std::int64_t num_positives) {
  TORCH_CHECK(logits.dim() == 2 && logits.size(1) == 2 && num_positives <= logits.size(0),
              "image_text_matching: expected logits [>= ", num_positives, ", 2], got ", logits.sizes());
  at::Tensor labels = torch::zeros({logits.size(0)}, logits.options().dtype(torch::kLong));
  labels.slice(0, 0, num_positives).fill_(1);
  return torch::cross_entropy_loss(at_least_float(logits), labels);
}

}  // namespace blip2
