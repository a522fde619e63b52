// The float32 products of cpu_kernels.h, with weights in float32, bfloat16 or float16. BLIP2_KERNELS names the
// variant.
#pragma once

#include <cstring>

#include "nn/linear_tiles.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace blip2::BLIP2_KERNELS {
namespace {

// Lanes of a vector, and the tile of weight rows by x rows whose sums fit the registers.
#if defined(__AVX512F__)
constexpr int kLanes = 16, kTileOut = 4, kTileRows = 6;
#elif defined(__AVX2__)
constexpr int kLanes = 8, kTileOut = 2, kTileRows = 5;
#else
constexpr int kLanes = 4, kTileOut = 2, kTileRows = 4;
#endif

using Vector = float __attribute__((vector_size(kLanes * sizeof(float)), aligned(4), may_alias));

struct BFloat16 {
  std::uint16_t bits;
};
struct Half {
  std::uint16_t bits;
};

inline float widen(float value) {
  return value;
}
inline float widen(BFloat16 value) {
  const std::uint32_t bits = static_cast<std::uint32_t>(value.bits) << 16;
  float result;
  std::memcpy(&result, &bits, sizeof result);
  return result;
}
inline float widen(Half value) {
  const std::uint32_t sign = (value.bits & 0x8000U) << 16, exponent = (value.bits >> 10) & 0x1FU;
  std::uint32_t fraction = value.bits & 0x3FFU;
  float result;
  if (exponent == 0) {  // zero or subnormal: fraction * 2^-24
    result = static_cast<float>(fraction) * 5.9604644775390625e-8F;
    return sign != 0 ? -result : result;
  }
  const std::uint32_t bits = sign | ((exponent == 0x1FU ? 0xFFU : exponent + 112U) << 23) | (fraction << 13);
  std::memcpy(&result, &bits, sizeof result);
  return result;
}

// One load, where g++ copies by halves through the stack when it is asked by memcpy.
inline Vector load(const float* from) {
  return *reinterpret_cast<const Vector*>(from);
}
#if defined(__AVX512F__)
inline Vector load(const BFloat16* from) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  return reinterpret_cast<Vector>(_mm512_slli_epi32(wide, 16));
}
inline Vector load(const Half* from) {
  return reinterpret_cast<Vector>(_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))));
}
#elif defined(__AVX2__)
inline Vector load(const BFloat16* from) {
  const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  return reinterpret_cast<Vector>(_mm256_slli_epi32(wide, 16));
}
inline Vector load(const Half* from) {
  return reinterpret_cast<Vector>(_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
}
#else
template <typename Weight>
inline Vector load(const Weight* from) {
  Vector result;
  for (int i = 0; i < kLanes; ++i) result[i] = widen(from[i]);
  return result;
}
#endif

inline float sum(Vector value) {
  float lanes[kLanes];
  std::memcpy(lanes, &value, sizeof lanes);
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}

/** kOut weight rows from `out` on by kRows rows of x from `row` on. */
template <typename Weight, int kOut, int kRows>
inline void float_tile(const LinearTask& task, std::int64_t out, std::int64_t row) {
  const Weight* weight = static_cast<const Weight*>(task.weight) + out * task.in;
  const float* x = task.x + row * task.in;
  Vector sums[kOut][kRows] = {};
  std::int64_t k = 0;
  for (; k + kLanes <= task.in; k += kLanes) {
    Vector w[kOut];
    BLIP2_UNROLL
    for (int o = 0; o < kOut; ++o) {
      w[o] = load(weight + o * task.in + k);
      __builtin_prefetch(weight + (o + kOut) * task.in + k, 0, 2);
    }
    BLIP2_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const Vector value = load(x + r * task.in + k);
      BLIP2_UNROLL
      for (int o = 0; o < kOut; ++o) sums[o][r] += w[o] * value;
    }
  }
  BLIP2_UNROLL
  for (int o = 0; o < kOut; ++o) {
    const float bias = task.bias != nullptr ? task.bias[out + o] : 0.0F;
    BLIP2_UNROLL
    for (int r = 0; r < kRows; ++r) {
      float total = sum(sums[o][r]);
      for (std::int64_t i = k; i < task.in; ++i) total += widen(weight[o * task.in + i]) * x[r * task.in + i];
      task.y[(row + r) * task.y_stride + out + o] = total + bias;
    }
  }
}

template <typename Weight, int kOut>
struct FloatTile {
  template <int kRows>
  struct Of {
    static void run(const LinearTask& task, std::int64_t out, std::int64_t row) {
      float_tile<Weight, kOut, kRows>(task, out, row);
    }
  };
};

template <typename Weight>
void float_product(const LinearTask& task) {
  std::int64_t out = task.begin;
  for (; out + kTileOut <= task.end; out += kTileOut) {
    over_rows<FloatTile<Weight, kTileOut>::template Of, kTileRows>(task, out);
  }
  for (; out < task.end; ++out) over_rows<FloatTile<Weight, 1>::template Of, kTileRows>(task, out);
}

}  // namespace
}  // namespace blip2::BLIP2_KERNELS
