// Rounding to integers for cpu_kernels.h: weights to int8, inputs to 15 bits; int4 is in linear_rounding_int4.h.
// BLIP2_KERNELS names the variant; all round alike.
#pragma once

#include <cstring>

#include "nn/cpu_kernels.h"

namespace blip2::BLIP2_KERNELS {
namespace {

/** The largest magnitude; infinity or NaN when one is among them. As integers, magnitudes are in the same order. */
inline float largest_magnitude(const float* x, std::int64_t count) {
  std::int32_t largest = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    std::int32_t bits;
    std::memcpy(&bits, x + i, sizeof bits);
    bits &= 0x7FFFFFFF;
    largest = bits > largest ? bits : largest;
  }
  float result;
  std::memcpy(&result, &largest, sizeof result);
  return result;
}

/** What a row is multiplied by so that its largest magnitude becomes `limit`; 0 where there is nothing to keep. */
inline float inverse_scale(float largest, float limit) {
  return largest > 0 && largest - largest == 0 ? limit / largest : 0.0F;
}

/** The nearest integer, by the float's own adder: beside 1.5 * 2^23 a value below 2^15 keeps no fraction. */
inline std::int32_t nearest(float value) {
  const float shifted = value + 12582912.0F;
  std::int32_t bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  return bits - 0x4B400000;
}

float round_weights_int8(const float* row, std::int64_t count, std::int64_t in, std::int8_t* rounded) {
  const float largest = largest_magnitude(row, count);
  const float inverse = inverse_scale(largest, 127.0F);
  for (std::int64_t i = 0; i < count; ++i)
    rounded[i] = inverse == 0 ? 0 : static_cast<std::int8_t>(nearest(row[i] * inverse));
  for (std::int64_t i = count; i < in; ++i) rounded[i] = 0;
  return largest / 127.0F;
}

float round_row(const float* x, std::int64_t count, std::int64_t in, std::int16_t* rounded) {
  constexpr float kLargest = 127 * 128 + 127;
  const float largest = largest_magnitude(x, count);
  const float inverse = inverse_scale(largest, kLargest);
  // A NaN times 0 is no integer: it must not leave the bytes. The scale says that the row is none.
  for (std::int64_t i = 0; i < count; ++i)
    rounded[i] = inverse == 0 ? 0 : static_cast<std::int16_t>(nearest(x[i] * inverse));
  for (std::int64_t i = count; i < in; ++i) rounded[i] = 0;
  return largest / kLargest;
}

float round_row_int8(const float* x, std::int64_t count, std::int64_t in, std::int8_t* part, std::int32_t* sum) {
  const float scale = round_weights_int8(x, count, in, part);
  std::int32_t total = 0;
  for (std::int64_t i = 0; i < count; ++i) total += part[i];
  *sum = total;
  return scale;
}

void halve_row(const std::int16_t* rounded, std::int64_t in, std::int64_t stride, std::int8_t* parts,
               std::int32_t* part_sums) {
  std::int32_t high_sum = 0, low_sum = 0;
  for (std::int64_t i = 0; i < in; ++i) {
    const std::int32_t value = rounded[i];
    const std::int32_t high = (value + (value < 0 ? 127 : 0)) >> 7;
    const std::int32_t low = value - high * 128;
    parts[i] = static_cast<std::int8_t>(high);
    parts[stride + i] = static_cast<std::int8_t>(low);
    high_sum += high;
    low_sum += low;
  }
  part_sums[0] = high_sum;
  part_sums[1] = low_sum;
}

}  // namespace
}  // namespace blip2::BLIP2_KERNELS
