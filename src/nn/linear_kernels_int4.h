// The int4 product of cpu_kernels.h: groups of 64 weights in 32 bytes, each with a bfloat16 scale. BLIP2_KERNELS
// names the variant.
#pragma once

#include "nn/linear_int4_vectors.h"
#include "nn/linear_tiles.h"

namespace blip2::BLIP2_KERNELS {
namespace {

constexpr int kVectors = kOutputBlock / kSideBySide;

/** A block of outputs from `out` on by kRows rows of x from `row` on. */
template <int kRows>
inline void int4_tile(const LinearTask& task, std::int64_t out, std::int64_t row) {
  constexpr std::int64_t kNumbers = kInt4Group / 4;
  const std::int64_t groups = task.in / kInt4Group;
  const auto* weight = static_cast<const std::uint16_t*>(task.weight) + out * groups * kNumbers;
  const std::uint16_t* scales = task.group_scale + out * groups;
  const std::int16_t* inputs = task.inputs + row * task.stride;
  const Ahead ahead(task, kInt4Rows, kOutputBlock * task.in / 2);
  Floats sums[kVectors][kRows] = {};
  for (std::int64_t g = 0; g < groups; ++g) {
    BLIP2_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const std::uint16_t* from = weight + (g * kOutputBlock + v * kSideBySide) * kNumbers;
      ahead.fetch(from);
      const Integers numbers = load_numbers(from);
      const Integers w[4] = {four_bits<0>(numbers), four_bits<4>(numbers), four_bits<8>(numbers),
                             four_bits<12>(numbers)};
      const Floats scale = load_scales(scales + g * kOutputBlock + v * kSideBySide);
      BLIP2_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const std::int16_t* x = inputs + r * task.stride + g * kInt4Group;
        Products product = {};
        BLIP2_UNROLL
        for (int i = 0; i < 4; ++i) product = add_products(product, w[i], load_inputs(x + 16 * i));
        sums[v][r] = add_scaled(sums[v][r], product, scale);
      }
    }
  }
  BLIP2_UNROLL
  for (int r = 0; r < kRows; ++r) {
    float totals[kOutputBlock];
    BLIP2_UNROLL
    for (int v = 0; v < kVectors; ++v) store_totals(sums[v][r], totals + v * kSideBySide);
    for (std::int64_t o = 0; o < kOutputBlock && out + o < task.end; ++o) {
      const float bias = task.bias != nullptr ? task.bias[out + o] : 0.0F;
      task.y[(row + r) * task.y_stride + out + o] = totals[o] * task.x_scale[row + r] + bias;
    }
  }
}

template <int kRows>
struct Int4Tile {
  static void run(const LinearTask& task, std::int64_t out, std::int64_t row) { int4_tile<kRows>(task, out, row); }
};

void int4_product(const LinearTask& task) {
  for (std::int64_t out = task.begin; out < task.end; out += kOutputBlock) over_rows<Int4Tile, kInt4Rows>(task, out);
}

}  // namespace
}  // namespace blip2::BLIP2_KERNELS
