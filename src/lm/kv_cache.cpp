#include "blip2/lm/kv_cache.h"

#include <torch/torch.h>

namespace blip2 {
namespace {

constexpr std::int64_t kChunk = 32;

at::Tensor with_capacity(const at::Tensor& source, std::int64_t capacity) {
  at::Tensor storage = torch::empty({source.size(0), source.size(1), capacity, source.size(3)}, source.options());
  storage.narrow(2, 0, source.size(2)).copy_(source);
  return storage;
}

}  // namespace

KeyValue KvCache::append(std::size_t layer, const KeyValue& added) {
  Layer& held = layers_.at(layer);
  const std::int64_t count = added.key.size(2), length = held.length + count;
  if (held.length == 0) {
    // Gradients may be wanted through a first pass (tests); later steps write in place.
    held.storage = added;
  } else {
    if (held.storage.key.size(2) < length) {
      const std::int64_t capacity = length + kChunk;
      held.storage = {with_capacity(held.storage.key.narrow(2, 0, held.length), capacity),
                      with_capacity(held.storage.value.narrow(2, 0, held.length), capacity)};
    }
    held.storage.key.narrow(2, held.length, count).copy_(added.key);
    held.storage.value.narrow(2, held.length, count).copy_(added.value);
  }
  held.length = length;
  return {held.storage.key.narrow(2, 0, length), held.storage.value.narrow(2, 0, length)};
}

void KvCache::reorder(const at::Tensor& rows) {
  for (Layer& layer : layers_) {
    if (layer.length == 0) continue;
    layer.storage = {layer.storage.key.index_select(0, rows), layer.storage.value.index_select(0, rows)};
  }
}

}  // namespace blip2
