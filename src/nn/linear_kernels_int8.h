// The int8 product of cpu_kernels.h. BLIP2_KERNELS names the variant.
#pragma once

#include "nn/linear_tiles.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace blip2::BLIP2_KERNELS {
namespace {

// A pair of int8 parts, or a single one, stands for each x; they are multiplied exactly and summed in int32, where 2^16
// inputs have room (255 * 127 * 65536 < 2^31).
#if defined(__AVX512VNNI__)
constexpr int kStep = 64, kIntOut = 4, kIntRows = 3;
using Sums = __m512i;
// w + 128 is unsigned, as the instruction wants it; the surplus 128 * sum(x) is taken off at the end.
constexpr std::int32_t kSurplus = 128;
inline __m512i load_weights(const std::int8_t* from) {
  return _mm512_xor_si512(_mm512_loadu_si512(from), _mm512_set1_epi8(static_cast<char>(0x80)));
}
inline __m512i load_parts(const std::int8_t* from) {
  return _mm512_loadu_si512(from);
}
inline Sums multiply_add(Sums sums, __m512i w, __m512i x) {
  return _mm512_dpbusd_epi32(sums, w, x);
}
inline std::int32_t sum(Sums sums) {
  return _mm512_reduce_add_epi32(sums);
}
#elif defined(__AVX2__)
constexpr int kStep = 16, kIntOut = 2, kIntRows = 2;
using Sums = __m256i;
constexpr std::int32_t kSurplus = 0;
inline __m256i load_weights(const std::int8_t* from) {
  return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}
inline __m256i load_parts(const std::int8_t* from) {
  return load_weights(from);
}
inline Sums multiply_add(Sums sums, __m256i w, __m256i x) {
  return _mm256_add_epi32(sums, _mm256_madd_epi16(w, x));
}
inline std::int32_t sum(Sums sums) {
  const __m128i half = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
  const __m128i quarter = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(quarter, _mm_shuffle_epi32(quarter, 0xB1)));
}
#else
constexpr int kStep = 1, kIntOut = 2, kIntRows = 2;
using Sums = std::int32_t;
constexpr std::int32_t kSurplus = 0;
inline std::int32_t load_weights(const std::int8_t* from) {
  return *from;
}
inline std::int32_t load_parts(const std::int8_t* from) {
  return *from;
}
inline Sums multiply_add(Sums sums, std::int32_t w, std::int32_t x) {
  return sums + w * x;
}
inline std::int32_t sum(Sums sums) {
  return sums;
}
#endif

/** kIntOut outputs of a block, from `first` on, by kRows rows of x, of kParts parts each, from `row` on. */
template <int kRows, int kParts>
inline void int8_tile(const LinearTask& task, std::int64_t out, std::int64_t first, std::int64_t row) {
  const std::int8_t* weight = static_cast<const std::int8_t*>(task.weight) + out * task.in + first * kIntegerStep;
  const std::int8_t* parts = task.parts + kParts * row * task.stride;
  const Ahead ahead(task, 2 / kParts * kIntRows, kOutputBlock * task.in);
  Sums sums[kIntOut][kParts * kRows] = {};
  for (std::int64_t step = 0; step < task.in; step += kIntegerStep) {
    for (std::int64_t k = 0; k < kIntegerStep; k += kStep) {
      decltype(load_weights(weight)) w[kIntOut];
      BLIP2_UNROLL
      for (int o = 0; o < kIntOut; ++o) {
        const std::int8_t* from = weight + step * kOutputBlock + o * kIntegerStep + k;
        w[o] = load_weights(from);
        if (k == 0) ahead.fetch(from);
      }
      BLIP2_UNROLL
      for (int r = 0; r < kParts * kRows; ++r) {
        const auto part = load_parts(parts + r * task.stride + step + k);
        BLIP2_UNROLL
        for (int o = 0; o < kIntOut; ++o) sums[o][r] = multiply_add(sums[o][r], w[o], part);
      }
    }
  }
  BLIP2_UNROLL
  for (int o = 0; o < kIntOut; ++o) {
    const std::int64_t output = out + first + o;
    if (output >= task.end) continue;
    const float bias = task.bias != nullptr ? task.bias[output] : 0.0F;
    BLIP2_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const std::int32_t* part_sums = task.part_sums + kParts * (row + r);
      float product = static_cast<float>(sum(sums[o][kParts * r]) - kSurplus * part_sums[0]);
      if constexpr (kParts == 2) {
        product = product * 128.0F + static_cast<float>(sum(sums[o][kParts * r + 1]) - kSurplus * part_sums[1]);
      }
      task.y[(row + r) * task.y_stride + output] = product * (task.weight_scale[output] * task.x_scale[row + r]) + bias;
    }
  }
}

template <int kRows, int kParts>
struct Int8Tile {
  static void run(const LinearTask& task, std::int64_t out, std::int64_t row) {
    for (std::int64_t first = 0; first < kOutputBlock; first += kIntOut) {
      int8_tile<kRows, kParts>(task, out, first, row);
    }
  }
};
template <int kRows>
using WholeTile = Int8Tile<kRows, 1>;
template <int kRows>
using HalvedTile = Int8Tile<kRows, 2>;

void int8_product(const LinearTask& task) {
  for (std::int64_t out = task.begin; out < task.end; out += kOutputBlock) {
    if (task.parts_per_row == 1) {
      over_rows<WholeTile, 2 * kIntRows>(task, out);
    } else {
      over_rows<HalvedTile, kIntRows>(task, out);
    }
  }
}

}  // namespace
}  // namespace blip2::BLIP2_KERNELS
