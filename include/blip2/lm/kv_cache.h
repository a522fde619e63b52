// Self-attention keys and values of sequences that are being decoded, of every layer. A picture's prompt is kept once
// for all the beams that continue it: on the CPU in float32 each step's keys stay where they were computed and rows
// only note whose they are, elsewhere rows are copied when search reorders them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "blip2/nn/attention.h"

namespace blip2 {

/** Rows are sequences. Not for recording gradients. */
class KeyValueCache {
 public:
  KeyValueCache(std::size_t layers, std::int64_t heads) : layers_(layers), heads_(heads) {}

  /**
   * Puts keys and values [R, T, heads * head_dim] of T new positions behind what the layer has, and attends from their
   * queries, of the same shape, to all of it -> [R, T, heads * head_dim]. `mask` is additive and broadcasts to [R,
   * heads, T, length], or is undefined. Throws (TORCH_CHECK) when rows or widths differ from what is there.
   */
  at::Tensor attend(std::size_t layer, const at::Tensor& query, const KeyValue& added, const at::Tensor& mask,
                    double scale);

  /** Row r continues what row rows[r] was, in every layer; `rows` int64 [R']. Throws (TORCH_CHECK) beyond the rows. */
  void reorder(const at::Tensor& rows);

  /** Positions that the first layer has. */
  std::int64_t length() const;

 private:
  void append(std::vector<KeyValue>& parts, const KeyValue& added);

  // Of each layer, one behind the other: [N, T, heads * head_dim].
  std::vector<std::vector<KeyValue>> layers_;
  // Which of a part's N rows each row reads; empty: its own. The same in every layer.
  std::vector<std::vector<std::int64_t>> rows_;
  std::int64_t heads_;
};

}  // namespace blip2
