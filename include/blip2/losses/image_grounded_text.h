// ITG (paper section 3.1, LAVIS 3): writes the caption from the queries' keys and values, word by word.
#pragma once

#include <ATen/core/Tensor.h>

namespace blip2 {

/**
 * Next-token cross entropy: logits [B, T, V] at position t predict labels [B, T] at t + 1; labels of -100 do not count.
 * Mean over what counts, with `label_smoothing` (LAVIS has 0.1, the paper does not mention it). Without any label that
 * counts the loss is 0.
 */
at::Tensor image_grounded_text(const at::Tensor& logits, const at::Tensor& labels, double label_smoothing = 0.1);

/** The same for the predictions alone: logits [N, V] of labels [N] that all count. 0 where there are none. */
at::Tensor word_cross_entropy(const at::Tensor& logits, const at::Tensor& labels, double label_smoothing = 0.1);

}  // namespace blip2
