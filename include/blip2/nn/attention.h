// softmax(Q K^T * scale + mask) V, computed in one place for every part of the model: ViT, Q-Former, OPT and T5 differ
// only in scale, mask and where keys and values come from (the sequence itself, a picture, a cache).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace blip2 {

/** Keys and values of one attention layer, each [B, heads, S, head_dim]: computed once, handed in again. */
struct KeyValue {
  at::Tensor key;
  at::Tensor value;
};

/** [B, T, heads * head_dim] -> [B, heads, T, head_dim]. */
at::Tensor split_heads(const at::Tensor& x, std::int64_t heads);

/** [B, heads, T, head_dim] -> [B, T, heads * head_dim]. */
at::Tensor merge_heads(const at::Tensor& x);

/**
 * A mask of what may be seen (bool or integer, non-zero = visible) as the term that is added to the scores: 0 where
 * visible, the lowest finite value of `dtype` elsewhere. Finite, so that a row that sees nothing gives no NaN.
 */
at::Tensor additive_mask(const at::Tensor& visible, at::ScalarType dtype);

/**
 * Attention of queries [B, heads, T, d] over keys and values [B, heads, S, d] -> [B, heads, T, d].
 * `mask` is additive and broadcasts to [B, heads, T, S], or is undefined; `dropout` acts on the probabilities.
 * Uses LibTorch's fused kernel where it has one.
 */
at::Tensor attention(const at::Tensor& query, const KeyValue& memory, const at::Tensor& mask, double scale,
                     double dropout = 0.0);

/** The probabilities [B, heads, T, S] alone, for attention maps. */
at::Tensor attention_probabilities(const at::Tensor& query, const at::Tensor& key, const at::Tensor& mask,
                                   double scale);

}  // namespace blip2
