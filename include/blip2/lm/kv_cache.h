// Keys and values of a decoder that grows by one token a step. Memory is taken in chunks and filled in place, so that a
// step costs its own token and not a copy of all earlier ones.
#pragma once

#include <cstdint>
#include <vector>

#include "blip2/nn/attention.h"

namespace blip2 {

class KvCache {
 public:
  explicit KvCache(std::int64_t layers) : layers_(static_cast<std::size_t>(layers)) {}

  /** Appends keys and values [R, heads, T, head_dim] to a layer and returns everything that it now holds. */
  KeyValue append(std::size_t layer, const KeyValue& added);

  /** Row r becomes what row rows[r] was; `rows` int64 [R'] may repeat rows or drop some. */
  void reorder(const at::Tensor& rows);

  /** Positions held by each layer (the same for all between steps). */
  std::int64_t length() const { return layers_.empty() ? 0 : layers_.front().length; }

 private:
  struct Layer {
    KeyValue storage;  // [R, heads, capacity, head_dim]
    std::int64_t length = 0;
  };
  std::vector<Layer> layers_;
};

}  // namespace blip2
