// Attention of one position (StepAttentionTask of cpu_kernels.h). BLIP2_KERNELS names the variant.
#pragma once

#include "nn/linear_kernels_float.h"

namespace blip2::BLIP2_KERNELS {
namespace {

inline float dot(const float* a, const float* b, std::int64_t width) {
  Vector sums = {};
  std::int64_t i = 0;
  for (; i + kLanes <= width; i += kLanes) sums += load(a + i) * load(b + i);
  float total = sum(sums);
  for (; i < width; ++i) total += a[i] * b[i];
  return total;
}

/** Scores [positions] of one row and head become probabilities that lack the division by the returned sum. */
inline float soften(float* scores, std::int64_t positions) {
  float largest = scores[0];
  for (std::int64_t p = 1; p < positions; ++p) largest = scores[p] > largest ? scores[p] : largest;
  float total = 0;
  for (std::int64_t p = 0; p < positions; ++p) {
    scores[p] = __builtin_expf(scores[p] - largest);
    total += scores[p];
  }
  return total;
}

/** Sum of the positions' values by their weights, times `scale`. */
inline void mix(const float* weights, const float* const* values, std::int64_t from, const StepAttentionTask& task,
                float scale, float* context) {
  std::int64_t i = 0;
  for (; i + kLanes <= task.width; i += kLanes) {
    Vector sums = {};
    for (std::int64_t p = 0; p < task.positions; ++p) sums += weights[p] * load(values[p] + from + i);
    sums *= scale;
    std::memcpy(context + i, &sums, sizeof sums);
  }
  for (; i < task.width; ++i) {
    float total = 0;
    for (std::int64_t p = 0; p < task.positions; ++p) total += weights[p] * values[p][from + i];
    context[i] = total * scale;
  }
}

void attend_step(const StepAttentionTask& task) {
  for (std::int64_t pair = task.begin; pair < task.end; ++pair) {
    const std::int64_t head = pair / task.rows, row = pair % task.rows, from = head * task.width;
    const std::int64_t place = row * task.heads * task.width + from;
    const float* const* keys = task.keys + row * task.positions;
    const float* mask = task.mask != nullptr ? task.mask + row * task.mask_row + head * task.mask_head : nullptr;
    for (std::int64_t p = 0; p < task.positions; ++p) {
      task.scores[p] = dot(task.query + place, keys[p] + from, task.width) * task.scale;
      if (mask != nullptr) task.scores[p] += mask[p * task.mask_position];
    }
    const float total = soften(task.scores, task.positions);
    mix(task.scores, task.values + row * task.positions, from, task, 1.0F / total, task.context + place);
  }
}

}  // namespace
}  // namespace blip2::BLIP2_KERNELS
