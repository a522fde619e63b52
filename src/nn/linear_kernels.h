// The innermost loops of a matrix product with few rows. They are compiled once for each instruction set that matters
// and chosen when the program starts, so this header and linear_kernels.cpp include nothing whose inline functions
// could leak out of a translation unit built for a newer processor.
#pragma once

#include <cstdint>

namespace blip2 {

/** Integer weights have rows of a multiple of this length, filled up with zeros. */
constexpr std::int64_t kIntegerStep = 64;
/** So many int4 weights share a scale. */
constexpr std::int64_t kInt4Group = 32;

/**
 * What one call works on: weight rows [begin, end) of [out, in], against `rows` rows of x. Every output is summed in an
 * order that depends on `in` alone, so that a row's result is the same in every batch and for every number of threads.
 */
struct LinearTask {
  const void* weight = nullptr;                // row-major; the type is the kernel's
  const float* weight_scale = nullptr;         // int8 only: [out]
  const std::uint16_t* group_scale = nullptr;  // int4 only: bfloat16 [out, in / kInt4Group]
  const float* bias = nullptr;                 // [out] or null
  std::int64_t in = 0, begin = 0, end = 0, rows = 0;
  const float* x = nullptr;                 // float kernels: [rows, in]
  const std::int8_t* parts = nullptr;       // integer kernels: [2 rows, in], from quantize_row as are the next two
  const std::int32_t* part_sums = nullptr;  // [2 rows]
  const float* group_sums = nullptr;        // int4 only: [rows, in / kInt4Group], from sum_groups
  const float* x_scale = nullptr;           // [rows]
  float* y = nullptr;                       // [rows, y_stride]
  std::int64_t y_stride = 0;
};

struct LinearKernels {
  void (*from_float)(const LinearTask&);
  void (*from_bfloat16)(const LinearTask&);
  void (*from_half)(const LinearTask&);
  void (*from_int8)(const LinearTask&);  // of both integers, `in` is a multiple of kIntegerStep
  void (*from_int4)(const LinearTask&);  // weights as round_row_int4 leaves them
  /**
   * x [count] as scale * (128 * high + low) with |high|, |low| <= 127: 15 bits, so that only the weights' rounding
   * counts. Writes high [in], filled up with zeros, low [in] behind it and the sums of both; returns the scale.
   */
  float (*quantize_row)(const float* x, std::int64_t count, std::int64_t in, std::int8_t* parts,
                        std::int32_t* part_sums);
  /** The nearest int8 multiples of the returned scale, by which the largest value is 127; zeros up to `in`. */
  float (*round_row_int8)(const float* row, std::int64_t count, std::int64_t in, std::int8_t* rounded);
  /** The nearest multiples, -8 to 7, of a scale that suits each group; two weights a byte, zeros up to `in`. */
  void (*round_row_int4)(const float* row, std::int64_t count, std::int64_t in, std::uint8_t* packed,
                         std::uint16_t* scales);
  /** The sums 128 * high + low of every group of a row that quantize_row has made. */
  void (*sum_groups)(const std::int8_t* parts, std::int64_t in, float* sums);
  /** Rows of x up to which from_float beats LibTorch's own product. */
  std::int64_t most_float_rows;
  const char* name;
};

/** What this processor runs, the best at 0; null behind the last. */
const LinearKernels* linear_kernel_variant(int index);

inline const LinearKernels& linear_kernels() {
  return *linear_kernel_variant(0);
}

}  // namespace blip2
