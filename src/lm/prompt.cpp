#include "lm/prompt.h"

#include <torch/torch.h>

#include "blip2/nn/attention.h"

namespace blip2 {

void check_prompt(const Prompt& prompt, std::int64_t width) {
  TORCH_CHECK(prompt.embeds.dim() == 3 && prompt.embeds.size(2) == width && prompt.embeds.size(1) > 0,
              "language model: expected prompt embeddings [B, T, ", width, "], got ", prompt.embeds.sizes());
  TORCH_CHECK(prompt.mask.dim() == 2 && prompt.mask.size(0) == prompt.embeds.size(0) &&
                  prompt.mask.size(1) == prompt.embeds.size(1),
              "language model: expected a mask of shape [", prompt.embeds.size(0), ", ", prompt.embeds.size(1),
              "] for the prompt, got ", prompt.mask.sizes());
}

at::Tensor padding_mask(const at::Tensor& mask, at::ScalarType dtype) {
  return additive_mask(mask, dtype).unsqueeze(1).unsqueeze(1);
}

at::Tensor mean_token_loss(const at::Tensor& hidden, const at::Tensor& labels,
                           const std::function<at::Tensor(const at::Tensor&)>& head) {
  TORCH_CHECK(labels.dim() == 2 && labels.size(0) == hidden.size(0) && labels.size(1) == hidden.size(1),
              "language model: expected labels for ", hidden.size(0), " x ", hidden.size(1), " rows, got ",
              labels.sizes());
  const at::Tensor flat = labels.reshape({-1});
  const at::Tensor chosen = flat.ne(kIgnoredLabel).nonzero().squeeze(1);
  const at::Tensor rows = hidden.reshape({-1, hidden.size(2)}).index_select(0, chosen);
  const at::Tensor logits = at_least_float(head(rows));
  const at::Tensor sum = at::cross_entropy_loss(logits, flat.index_select(0, chosen), {}, at::Reduction::Sum);
  return sum / std::max<std::int64_t>(chosen.size(0), 1);
}

}  // namespace blip2
