// Dropout whose mask is a function of a seed and an element's place: nothing but the seed is kept for the backward
// pass, and all threads draw at once. LibTorch's keeps a mask as large as its input and draws it number by number,
// which on a CPU costs more than the feed-forward's activation. Seeds come from torch's generator, so
// torch::manual_seed decides.
#pragma once

#include <ATen/core/Tensor.h>

namespace blip2 {

/**
 * x with each element zeroed with `probability` and the others divided by 1 - probability; x itself for 0. Any shape;
 * float32 on the CPU by this file's kernel, which widens half precision; everything else by LibTorch's. Throws
 * (TORCH_CHECK) outside [0, 1).
 */
at::Tensor dropout(const at::Tensor& x, double probability);

/** dropout(x) + residual, in one pass over memory. */
at::Tensor dropout_add(const at::Tensor& x, const at::Tensor& residual, double probability);

}  // namespace blip2
