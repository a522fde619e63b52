// Self-attention keys and values of sequences that are being decoded. The buffers have room ahead, so that a step
// writes one position and copies nothing else; what attention reads is a view.
#pragma once

#include <cstdint>
#include <vector>

#include "blip2/nn/attention.h"

namespace blip2 {

/** The cache of one layer; rows are sequences. Not for recording gradients: it writes in place. */
class KeyValueCache {
 public:
  /**
   * Puts keys and values [R, heads, T, head_dim] behind what is there and returns all of it, [R, heads, length,
   * head_dim] as views that the next append or reorder invalidates. Throws (TORCH_CHECK) when rows, heads or widths
   * differ.
   */
  KeyValue append(const KeyValue& added);

  /** Row r becomes what row rows[r] was; `rows` int64 [R'] on the cache's device. */
  void reorder(const at::Tensor& rows);

  std::int64_t length() const { return length_; }

 private:
  void grow(std::int64_t capacity, const KeyValue& like);

  KeyValue buffer_;  // [R, heads, capacity, head_dim]; undefined while empty
  KeyValue spare_;   // what reorder wrote from last time: beams reorder every step, and fresh memory is slow
  std::int64_t length_ = 0;
};

/** Reorders the cache of every layer. */
void reorder(std::vector<KeyValueCache>& caches, const at::Tensor& rows);

}  // namespace blip2
