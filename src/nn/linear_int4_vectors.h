// The vectors of linear_kernels_int4.h in each instruction set. BLIP2_KERNELS names the variant.
#pragma once

#include <cstring>

#include "nn/linear_rounding_int4.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace blip2::BLIP2_KERNELS {
namespace {

// Integers are 16 of a group's 64 weights or inputs; Products the eight sums of two of their products each. Where
// vectors are wider they hold two outputs side by side.
#if defined(__AVX512VNNI__)
constexpr int kSideBySide = 2, kInt4Rows = 6;
using Integers = __m512i;
using Products = __m512i;
using Floats = __m512;
/** The signed four bits from `kFirst` on of every number. */
template <int kFirst>
inline Integers four_bits(Integers numbers) {
  return _mm512_srai_epi16(_mm512_slli_epi16(numbers, 12 - kFirst), 12);
}
inline Integers load_numbers(const std::uint16_t* from) {
  return _mm512_loadu_si512(from);
}
inline Integers load_inputs(const std::int16_t* from) {
  return _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}
inline Products add_products(Products sums, Integers w, Integers x) {
  return _mm512_dpwssd_epi32(sums, w, x);
}
inline Floats load_scales(const std::uint16_t* from) {
  std::int32_t both;
  std::memcpy(&both, from, sizeof both);
  const __m512i shift = _mm512_inserti64x4(_mm512_set1_epi32(16), _mm256_setzero_si256(), 1);
  const __m512i shifted = _mm512_sllv_epi32(_mm512_set1_epi32(both), shift);
  return _mm512_castsi512_ps(_mm512_and_si512(shifted, _mm512_set1_epi32(static_cast<int>(0xFFFF0000U))));
}
inline Floats add_scaled(Floats sums, Products product, Floats scales) {
  return _mm512_fmadd_ps(_mm512_cvtepi32_ps(product), scales, sums);
}
inline void store_totals(Floats sums, float* totals) {
  float lanes[16];
  _mm512_storeu_ps(lanes, sums);
  for (int i = 0; i < 8; i += 4) {
    for (int j = 0; j < 2; ++j) {
      const float* four = lanes + 8 * j + i;
      totals[j] = (i == 0 ? 0.0F : totals[j]) + ((four[0] + four[1]) + (four[2] + four[3]));
    }
  }
}
#elif defined(__AVX2__)
constexpr int kSideBySide = 1, kInt4Rows = 2;
using Integers = __m256i;
using Products = __m256i;
using Floats = __m256;
template <int kFirst>
inline Integers four_bits(Integers numbers) {
  return _mm256_srai_epi16(_mm256_slli_epi16(numbers, 12 - kFirst), 12);
}
inline Integers load_numbers(const std::uint16_t* from) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}
inline Integers load_inputs(const std::int16_t* from) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}
inline Products add_products(Products sums, Integers w, Integers x) {
  return _mm256_add_epi32(sums, _mm256_madd_epi16(w, x));
}
inline Floats load_scales(const std::uint16_t* from) {
  return _mm256_set1_ps(from_bfloat16(*from));
}
inline Floats add_scaled(Floats sums, Products product, Floats scales) {
  return _mm256_fmadd_ps(_mm256_cvtepi32_ps(product), scales, sums);
}
inline void store_totals(Floats sums, float* totals) {
  float lanes[8];
  _mm256_storeu_ps(lanes, sums);
  totals[0] = ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}
#else
constexpr int kSideBySide = 1, kInt4Rows = 2;
struct Integers {
  std::int16_t lanes[16];
};
struct Products {
  std::int32_t lanes[8];
};
struct Floats {
  float lanes[8];
};
template <int kFirst>
inline Integers four_bits(Integers numbers) {
  for (auto& number : numbers.lanes) {
    number =
        static_cast<std::int16_t>(static_cast<std::int16_t>(static_cast<std::uint16_t>(number) << (12 - kFirst)) >> 12);
  }
  return numbers;
}
inline Integers load_numbers(const std::uint16_t* from) {
  Integers result;
  std::memcpy(result.lanes, from, sizeof result.lanes);
  return result;
}
inline Integers load_inputs(const std::int16_t* from) {
  Integers result;
  std::memcpy(result.lanes, from, sizeof result.lanes);
  return result;
}
inline Products add_products(Products sums, const Integers& w, const Integers& x) {
  for (int i = 0; i < 8; ++i) {
    sums.lanes[i] += w.lanes[2 * i] * x.lanes[2 * i] + w.lanes[2 * i + 1] * x.lanes[2 * i + 1];
  }
  return sums;
}
inline Floats load_scales(const std::uint16_t* from) {
  Floats result;
  for (float& lane : result.lanes) lane = from_bfloat16(*from);
  return result;
}
inline Floats add_scaled(Floats sums, const Products& product, const Floats& scales) {
  for (int i = 0; i < 8; ++i) sums.lanes[i] += static_cast<float>(product.lanes[i]) * scales.lanes[i];
  return sums;
}
inline void store_totals(const Floats& sums, float* totals) {
  const float* lanes = sums.lanes;
  totals[0] = ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}
#endif

}  // namespace
}  // namespace blip2::BLIP2_KERNELS
