// Mean cross entropy over the labels that count. The vocabulary projection, the largest product of a small language
// model's step, is computed only for the rows that have a label.
#pragma once

#include <torch/torch.h>

namespace blip2 {

/** hidden [B, T, H] against labels int64 [B, T] (-100: does not count); `head` maps rows [N, H] to logits [N, V]. */
template <typename Head>
at::Tensor next_token_loss(const at::Tensor& hidden, const at::Tensor& labels, const Head& head) {
  const at::Tensor flat = labels.reshape({-1});
  const at::Tensor rows = flat.ne(-100).nonzero().squeeze(1);
  if (rows.size(0) == 0) return hidden.sum() * 0.0;  // nothing to predict: no loss, and a gradient of zero
  const at::Tensor logits = head(hidden.reshape({-1, hidden.size(2)}).index_select(0, rows));
  return torch::cross_entropy_loss(logits, flat.index_select(0, rows));
}

}  // namespace blip2
