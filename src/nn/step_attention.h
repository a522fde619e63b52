// Attention of one new position per row over keys and values that stay where they were computed: rows of a beam search
// share what they have in common, and nothing is copied when they change places. On the CPU, in float32.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "blip2/nn/attention.h"

namespace blip2 {

/** What row r of an attention reads of something that has N rows: row rows[r], or row r where `rows` is empty. */
using SharedRows = std::vector<std::int64_t>;

/** Whether step_attention computes with this tensor. */
bool can_attend_in_place(const at::Tensor& tensor);

/**
 * Query [R, 1, heads * d] over parts [N, T, heads * d], contiguous and one behind the other, of which row r reads
 * rows[part][r] -> [R, 1, heads * d]. `mask` is additive and broadcasts to [R, heads, 1, S], or is undefined. Every
 * row is computed alike in every batch and by every number of threads. Records no gradient.
 */
at::Tensor step_attention(const at::Tensor& query, std::int64_t heads, std::span<const KeyValue> parts,
                          std::span<const SharedRows> rows, const at::Tensor& mask, double scale);

}  // namespace blip2
