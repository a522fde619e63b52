// The three self-attention masks that turn one Q-Former into three (paper section 3.1, figure 2). Each is a pure
// function of the text's padding mask and says what every row of [queries ; text] may see. The training step runs
// cheaper passes made of blocks of these masks; tests prove them equal.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace blip2 {

/**
 * Image-text contrast: queries see queries, text sees text (not its padding), neither sees the other.
 * text_mask int64 [B, T] (1 = token) -> bool [B, 1, num_queries + T, num_queries + T].
 */
at::Tensor unimodal_mask(const at::Tensor& text_mask, std::int64_t num_queries);

/** Image-text matching: everybody sees all queries and all text but its padding. Shapes as above. */
at::Tensor bidirectional_mask(const at::Tensor& text_mask, std::int64_t num_queries);

/**
 * Image-grounded text generation: queries see queries; text sees the queries and itself up to its own position, padding
 * excepted. Shapes as above.
 */
at::Tensor multimodal_causal_mask(const at::Tensor& text_mask, std::int64_t num_queries);

/**
 * Contrast and generation in one pass over [queries ; text ; text to generate]: the first two as in unimodal_mask(),
 * the third as the text of multimodal_causal_mask(). bool [B, 1, num_queries + 2 T, num_queries + 2 T].
 */
at::Tensor contrast_and_generation_mask(const at::Tensor& text_mask, std::int64_t num_queries);

}  // namespace blip2
