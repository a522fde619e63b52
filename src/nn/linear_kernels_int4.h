// The int4 product of linear_kernels.h: two weights a byte, a bfloat16 scale for each 32 of them. BLIP2_KERNELS names
// the variant.
#pragma once

#include "nn/linear_kernels_float.h"
#include "nn/linear_rounding.h"

namespace blip2::BLIP2_KERNELS {
namespace {

#if defined(__AVX2__)
constexpr int kInt4Out = 2, kInt4Rows = 3;
using GroupSums = __m256;
using Group = __m256i;
inline void load_groups(const std::uint8_t* from, Group* groups) {
  const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)), low = _mm256_set1_epi8(0x0F);
  groups[0] = _mm256_and_si256(bytes, low);
  groups[1] = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), low);
}
inline Group load_group_parts(const std::int8_t* from) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}
/** Eight sums of four products each. */
inline __m256i group_dot(Group w, Group x) {
#if defined(__AVX512VNNI__) && defined(__AVX512VL__)
  return _mm256_dpbusd_epi32(_mm256_setzero_si256(), w, x);
#else
  return _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), _mm256_set1_epi16(1));
#endif
}
inline GroupSums add_group(GroupSums sums, float scale, Group w, Group high, Group low) {
  const __m256i product = _mm256_add_epi32(_mm256_slli_epi32(group_dot(w, high), 7), group_dot(w, low));
  return _mm256_fmadd_ps(_mm256_cvtepi32_ps(product), _mm256_set1_ps(scale), sums);
}
inline float total(GroupSums sums) {
  const __m128 half = _mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps(sums, 1));
  const __m128 quarter = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(quarter, _mm_shuffle_ps(quarter, quarter, 1)));
}
#else
constexpr int kInt4Out = 1, kInt4Rows = 2;
using GroupSums = float;
struct Group {
  std::int8_t values[kInt4Group];
};
inline void load_groups(const std::uint8_t* from, Group* groups) {
  for (int i = 0; i < kInt4Group; ++i) {
    groups[0].values[i] = static_cast<std::int8_t>(from[i] & 0x0F);
    groups[1].values[i] = static_cast<std::int8_t>(from[i] >> 4);
  }
}
inline Group load_group_parts(const std::int8_t* from) {
  Group group;
  std::memcpy(group.values, from, sizeof group.values);
  return group;
}
inline std::int32_t group_dot(const Group& w, const Group& x) {
  std::int32_t sum = 0;
  for (int i = 0; i < kInt4Group; ++i) sum += w.values[i] * x.values[i];
  return sum;
}
inline GroupSums add_group(GroupSums sums, float scale, const Group& w, const Group& high, const Group& low) {
  return sums + scale * static_cast<float>(group_dot(w, high) * 128 + group_dot(w, low));
}
inline float total(GroupSums sums) {
  return sums;
}
#endif

/** What the weights' surplus of 8 has added to a product. */
inline float surplus(const BFloat16* scales, const float* group_sums, std::int64_t groups) {
  Vector sums = {};
  std::int64_t g = 0;
  for (; g + kLanes <= groups; g += kLanes) sums += load(scales + g) * load(group_sums + g);
  float result = sum(sums);
  for (; g < groups; ++g) result += widen(scales[g]) * group_sums[g];
  return static_cast<float>(kHalfZero) * result;
}

template <int kOut, int kRows>
inline void int4_tile(const LinearTask& task, std::int64_t out, std::int64_t row) {
  const std::int64_t row_bytes = task.in / 2, groups = task.in / kInt4Group;
  const std::uint8_t* weight = static_cast<const std::uint8_t*>(task.weight) + out * row_bytes;
  const auto* scales = reinterpret_cast<const BFloat16*>(task.group_scale) + out * groups;
  const std::int8_t* parts = task.parts + 2 * row * task.in;
  GroupSums sums[kOut][kRows] = {};
  for (std::int64_t k = 0; k < task.in; k += 2 * kInt4Group) {
    Group w[kOut][2];
    BLIP2_UNROLL
    for (int o = 0; o < kOut; ++o) {
      load_groups(weight + o * row_bytes + k / 2, w[o]);
      __builtin_prefetch(weight + (o + kOut) * row_bytes + k / 2, 0, 2);
    }
    BLIP2_UNROLL
    for (int half = 0; half < 2; ++half) {
      const std::int64_t begin = k + half * kInt4Group;
      BLIP2_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const Group high = load_group_parts(parts + 2 * r * task.in + begin);
        const Group low = load_group_parts(parts + (2 * r + 1) * task.in + begin);
        BLIP2_UNROLL
        for (int o = 0; o < kOut; ++o) {
          const float scale = widen(scales[o * groups + begin / kInt4Group]);
          sums[o][r] = add_group(sums[o][r], scale, w[o][half], high, low);
        }
      }
    }
  }
  BLIP2_UNROLL
  for (int o = 0; o < kOut; ++o) {
    const float bias = task.bias != nullptr ? task.bias[out + o] : 0.0F;
    BLIP2_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const float added = surplus(scales + o * groups, task.group_sums + (row + r) * groups, groups);
      task.y[(row + r) * task.y_stride + out + o] = (total(sums[o][r]) - added) * task.x_scale[row + r] + bias;
    }
  }
}

template <int kOut>
struct Int4Tile {
  template <int kRows>
  struct Of {
    static void run(const LinearTask& task, std::int64_t out, std::int64_t row) {
      int4_tile<kOut, kRows>(task, out, row);
    }
  };
};

void int4_product(const LinearTask& task) {
  std::int64_t out = task.begin;
  for (; out + kInt4Out <= task.end; out += kInt4Out) over_rows<Int4Tile<kInt4Out>::Of, kInt4Rows>(task, out);
  for (; out < task.end; ++out) over_rows<Int4Tile<1>::Of, kInt4Rows>(task, out);
}

}  // namespace
}  // namespace blip2::BLIP2_KERNELS
