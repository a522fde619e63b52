// Dropout of a run of elements (DropoutTask of cpu_kernels.h). BLIP2_KERNELS names the variant.
#pragma once

#include "nn/cpu_kernels.h"

namespace blip2::BLIP2_KERNELS {
namespace {

/** 32 bits that look random, of a counter and a seed: two rounds of multiplying and folding, which vectors do well. */
inline std::uint32_t scrambled(std::uint32_t counter, std::uint32_t low, std::uint32_t high) {
  std::uint32_t x = counter ^ low;
  x = (x ^ (x >> 16)) * 0x7feb352dU;
  x = ((x ^ (x >> 15)) + high) * 0x846ca68bU;
  x = (x ^ (x >> 16)) * 0x9e3779b1U;
  return x ^ (x >> 15);
}

void drop(const DropoutTask& task) {
  const auto low = static_cast<std::uint32_t>(task.seed), high = static_cast<std::uint32_t>(task.seed >> 32);
  const auto first = static_cast<std::uint32_t>(task.first);
  const std::uint32_t threshold = task.threshold;
  const float scale = task.scale;
  const float *x = task.x, *residual = task.residual;
  float* y = task.y;
  const auto count = static_cast<std::uint32_t>(task.count);
  if (residual == nullptr) {
    for (std::uint32_t i = 0; i < count; ++i) {
      y[i] = scrambled(first + i, low, high) >= threshold ? x[i] * scale : 0.0F;
    }
  } else {
    for (std::uint32_t i = 0; i < count; ++i) {
      y[i] = (scrambled(first + i, low, high) >= threshold ? x[i] * scale : 0.0F) + residual[i];
    }
  }
}

}  // namespace
}  // namespace blip2::BLIP2_KERNELS
