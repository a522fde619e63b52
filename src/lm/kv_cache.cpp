#include "blip2/lm/kv_cache.h"

#include <torch/torch.h>

#include "nn/step_attention.h"

namespace blip2 {
namespace {

KeyValue split(const KeyValue& whole, std::int64_t heads) {
  return {split_heads(whole.key, heads), split_heads(whole.value, heads)};
}

}  // namespace

void KeyValueCache::append(std::vector<KeyValue>& parts, const KeyValue& added) {
  const std::size_t index = parts.size();
  if (index > 0) {
    const SharedRows& rows = rows_[index - 1];
    const at::Tensor& last = parts.back().key;
    const std::int64_t expected = rows.empty() ? last.size(0) : static_cast<std::int64_t>(rows.size());
    TORCH_CHECK(added.key.size(0) == expected && added.key.size(2) == last.size(2), "key-value cache: expected keys [",
                expected, ", T, ", last.size(2), "], got ", added.key.sizes());
  }
  if (index > 0 && !can_attend_in_place(added.key)) {
    parts.back() = {at::cat({parts.back().key, added.key}, 1), at::cat({parts.back().value, added.value}, 1)};
    return;
  }
  parts.push_back({added.key.contiguous(), added.value.contiguous()});
  if (rows_.size() < parts.size()) rows_.emplace_back();
}

at::Tensor KeyValueCache::attend(std::size_t layer, const at::Tensor& query, const KeyValue& added,
                                 const at::Tensor& mask, double scale) {
  torch::NoGradGuard no_grad;
  std::vector<KeyValue>& parts = layers_.at(layer);
  append(parts, added);
  if (parts.size() == 1) {
    return merge_heads(attention(split_heads(query, heads_), split(parts.front(), heads_), mask, scale));
  }
  TORCH_CHECK(query.size(1) == 1, "key-value cache: expected one new position, got queries ", query.sizes());
  return step_attention(query, heads_, parts, rows_, mask, scale);
}

void KeyValueCache::reorder(const at::Tensor& rows) {
  if (rows_.empty()) return;
  torch::NoGradGuard no_grad;
  if (!can_attend_in_place(layers_.front().front().key)) {
    for (auto& parts : layers_) {
      for (auto& part : parts) part = {part.key.index_select(0, rows), part.value.index_select(0, rows)};
    }
    return;
  }
  const at::Tensor on_host = rows.to(at::kCPU, at::kLong).contiguous();
  const SharedRows chosen(on_host.const_data_ptr<std::int64_t>(),
                          on_host.const_data_ptr<std::int64_t>() + on_host.numel());
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    const std::int64_t count =
        rows_[i].empty() ? layers_.front()[i].key.size(0) : static_cast<std::int64_t>(rows_[i].size());
    SharedRows next;
    for (const std::int64_t row : chosen) {
      TORCH_CHECK(row >= 0 && row < count, "key-value cache: expected rows below ", count, ", got ", row);
      next.push_back(rows_[i].empty() ? row : rows_[i][static_cast<std::size_t>(row)]);
    }
    rows_[i] = std::move(next);
  }
}

std::int64_t KeyValueCache::length() const {
  std::int64_t length = 0;
  for (const KeyValue& part : layers_.front()) length += part.key.size(1);
  return length;
}

}  // namespace blip2
