// ITM (paper section 3.1, LAVIS 3): does this text belong to this picture? Every query votes, the votes are averaged.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace blip2 {

/** Mean over the queries: per-query logits [B, Q, 2] -> [B, 2]; class 1 is a match. */
at::Tensor matching_logits(const at::Tensor& per_query_logits);

/** Cross entropy of logits [3 B, 2], whose first B rows are matches and whose last 2 B are not. */
at::Tensor image_text_matching(const at::Tensor& logits, std::int64_t num_positives);

}  // namespace blip2
