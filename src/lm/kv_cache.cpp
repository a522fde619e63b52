#include "blip2/lm/kv_cache.h"

#include <torch/torch.h>

#include <algorithm>

namespace blip2 {
namespace {

constexpr std::int64_t kLeastRoomAhead = 32;

at::Tensor with_capacity(const at::Tensor& like, std::int64_t rows, std::int64_t capacity) {
  return at::empty({rows, like.size(1), capacity, like.size(3)}, like.options());
}

}  // namespace

void KeyValueCache::grow(std::int64_t capacity, const KeyValue& like) {
  for (auto part : {&KeyValue::key, &KeyValue::value}) {
    at::Tensor larger = with_capacity(like.*part, (like.*part).size(0), capacity);
    if (length_ > 0) larger.narrow(2, 0, length_).copy_((buffer_.*part).narrow(2, 0, length_));
    buffer_.*part = std::move(larger);
  }
}

KeyValue KeyValueCache::append(const KeyValue& added) {
  torch::NoGradGuard no_grad;
  const std::int64_t count = added.key.size(2), needed = length_ + count;
  if (buffer_.key.defined()) {
    TORCH_CHECK(added.key.size(0) == buffer_.key.size(0) && added.key.size(1) == buffer_.key.size(1) &&
                    added.key.size(3) == buffer_.key.size(3),
                "key-value cache: expected keys like ", buffer_.key.sizes(), ", got ", added.key.sizes());
  }
  if (!buffer_.key.defined() || needed > buffer_.key.size(2)) {
    grow(needed + std::max(kLeastRoomAhead, needed / 2), added);
  }
  KeyValue all;
  for (auto part : {&KeyValue::key, &KeyValue::value}) {
    (buffer_.*part).narrow(2, length_, count).copy_(added.*part);
    all.*part = (buffer_.*part).narrow(2, 0, needed);
  }
  length_ = needed;
  return all;
}

void KeyValueCache::reorder(const at::Tensor& rows) {
  if (!buffer_.key.defined()) return;
  torch::NoGradGuard no_grad;
  for (auto part : {&KeyValue::key, &KeyValue::value}) {
    at::Tensor &old = buffer_.*part, &chosen = spare_.*part;
    const bool fits = chosen.defined() && chosen.size(0) == rows.size(0) && chosen.size(2) == old.size(2);
    if (!fits) chosen = with_capacity(old, rows.size(0), old.size(2));
    // Only what is filled moves, straight into its place.
    at::Tensor filled = chosen.narrow(2, 0, length_);
    at::index_select_out(filled, old.narrow(2, 0, length_), 0, rows);
    std::swap(old, chosen);
  }
}

void reorder(std::vector<KeyValueCache>& caches, const at::Tensor& rows) {
  for (auto& cache : caches) cache.reorder(rows);
}

}  // namespace blip2
