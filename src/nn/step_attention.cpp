#include "nn/step_attention.h"

#include <ATen/Parallel.h>
#include <torch/torch.h>

#include <algorithm>

#include "nn/cpu_kernels.h"

namespace blip2 {
namespace {

// A thread's least share of an attention, in multiplications.
constexpr std::int64_t kLeastWork = 1 << 16;

/** Where each row's keys and values lie, [rows, positions] each. */
struct Places {
  std::vector<const float*> keys, values;
  std::int64_t positions = 0;
};

Places find_places(std::span<const KeyValue> parts, std::span<const SharedRows> rows, std::int64_t row_count) {
  Places places;
  for (const KeyValue& part : parts) places.positions += part.key.size(1);
  places.keys.resize(static_cast<std::size_t>(row_count * places.positions));
  places.values.resize(places.keys.size());
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const at::Tensor &key = parts[i].key, &value = parts[i].value;
    const std::int64_t length = key.size(1), width = key.size(2);
    for (std::int64_t r = 0; r < row_count; ++r) {
      const std::int64_t row = rows[i].empty() ? r : rows[i][static_cast<std::size_t>(r)];
      for (std::int64_t t = 0; t < length; ++t) {
        const auto place = static_cast<std::size_t>(r * places.positions + begin + t);
        places.keys[place] = key.const_data_ptr<float>() + (row * length + t) * width;
        places.values[place] = value.const_data_ptr<float>() + (row * length + t) * width;
      }
    }
    begin += length;
  }
  return places;
}

}  // namespace

bool can_attend_in_place(const at::Tensor& tensor) {
  return tensor.is_cpu() && tensor.scalar_type() == at::kFloat;
}

at::Tensor step_attention(const at::Tensor& query, std::int64_t heads, std::span<const KeyValue> parts,
                          std::span<const SharedRows> rows, const at::Tensor& mask, double scale) {
  const at::Tensor asked = query.contiguous();
  const Places places = find_places(parts, rows, asked.size(0));
  at::Tensor context = at::empty_like(asked);
  StepAttentionTask task;
  task.rows = asked.size(0);
  task.heads = heads;
  task.width = asked.size(2) / heads;
  task.positions = places.positions;
  task.query = asked.const_data_ptr<float>();
  task.keys = places.keys.data();
  task.values = places.values.data();
  at::Tensor bias;
  if (mask.defined()) {
    bias = mask.to(at::kFloat).expand({task.rows, heads, 1, task.positions});
    task.mask = bias.const_data_ptr<float>();
    task.mask_row = bias.stride(0);
    task.mask_head = bias.stride(1);
    task.mask_position = bias.stride(3);
  }
  task.scale = static_cast<float>(scale);
  task.context = context.data_ptr<float>();
  const std::int64_t grain =
      std::max<std::int64_t>(1, kLeastWork / std::max<std::int64_t>(1, 2 * task.positions * task.width));
  at::parallel_for(0, task.rows * heads, grain, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> scores(static_cast<std::size_t>(task.positions));
    StepAttentionTask share = task;
    share.begin = begin;
    share.end = end;
    share.scores = scores.data();
    cpu_kernels().attend_step(share);
  });
  return context;
}

}  // namespace blip2
