// Rounding of weights to int4 for cpu_kernels.h. BLIP2_KERNELS names the variant; all round alike.
#pragma once

#include "nn/linear_rounding.h"

namespace blip2::BLIP2_KERNELS {
namespace {

/** bfloat16 to the nearest, ties to even. */
inline std::uint16_t to_bfloat16(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if (value != value) return 0x7FC0;
  return static_cast<std::uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

inline float from_bfloat16(std::uint16_t value) {
  const std::uint32_t bits = static_cast<std::uint32_t>(value) << 16;
  float result;
  std::memcpy(&result, &bits, sizeof result);
  return result;
}

// Loops over a group are over this many at once, so that compilers see vectors in them.
constexpr int kGroupLanes = 16;

/** The group's value of the largest magnitude, the negative one of two; infinity or NaN when one is among them. */
inline float largest_value(const float* group) {
  std::uint32_t largest = 0;
  for (int i = 0; i < kInt4Group; ++i) {
    std::uint32_t bits;
    std::memcpy(&bits, group + i, sizeof bits);
    bits = bits << 1 | bits >> 31;  // the sign behind the magnitude, in whose order such integers are
    largest = bits > largest ? bits : largest;
  }
  largest = largest >> 1 | largest << 31;
  float result;
  std::memcpy(&result, &largest, sizeof result);
  return result;
}

/** The nearest of -8 ... 7 to the group's values times `inverse`. */
inline void round_group(const float* group, float inverse, std::int32_t* rounded) {
  for (int i = 0; i < kInt4Group; ++i) {
    const float value = group[i] * inverse;
    rounded[i] = nearest(value < -8.0F ? -8.0F : value > 7.0F ? 7.0F : value);
  }
}

/**
 * The scale of a group. Its largest magnitude, sign and all, becomes -8, of which the range has one more; then the
 * scale that suits the rounded values best (least squares).
 */
inline std::uint16_t group_scale(const float* group) {
  const float largest = largest_value(group);
  if (largest - largest != 0) return 0x7FC0;  // the scale says that the group is none
  const float inverse = -8.0F / largest;
  if (largest == 0 || inverse - inverse != 0) return 0;
  std::int32_t rounded[kInt4Group];
  round_group(group, inverse, rounded);
  // Products are exact in double, so that a fused sum is no other than a rounded one.
  double products[kGroupLanes] = {}, product = 0;
  std::int32_t square = 0;
  for (int i = 0; i < kInt4Group; i += kGroupLanes) {
    for (int j = 0; j < kGroupLanes; ++j) products[j] += static_cast<double>(group[i + j]) * rounded[i + j];
  }
  for (int i = 0; i < kInt4Group; ++i) square += rounded[i] * rounded[i];
  for (const double part : products) product += part;
  return to_bfloat16(static_cast<float>(product / square));
}

void round_weights_int4(const float* row, std::int64_t count, std::int64_t in, std::uint16_t* packed,
                        std::uint16_t* scales) {
  for (std::int64_t begin = 0; begin < in; begin += kInt4Group) {
    float group[kInt4Group] = {};
    const std::int64_t left = count - begin;
    if (left > 0) std::memcpy(group, row + begin, sizeof(float) * (left < kInt4Group ? left : kInt4Group));
    const std::uint16_t scale = *scales++ = group_scale(group);
    const float inverse = 1.0F / from_bfloat16(scale);
    std::int32_t rounded[kInt4Group] = {};
    if (inverse - inverse == 0) round_group(group, inverse, rounded);
    for (int i = 0; i < kInt4Group / 4; ++i) {
      std::uint32_t four = 0;
      for (int j = 0; j < 4; ++j) four |= (static_cast<std::uint32_t>(rounded[16 * j + i]) & 15U) << (4 * j);
      *packed++ = static_cast<std::uint16_t>(four);
    }
  }
}

}  // namespace
}  // namespace blip2::BLIP2_KERNELS
