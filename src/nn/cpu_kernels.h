// The innermost loops of what decoding repeats for every token: a matrix product with few rows, and attention of one
// position. They are compiled once for each instruction set that matters and chosen when the program starts, so this
// header and cpu_kernels.cpp include nothing whose inline functions could leak out of a translation unit built for a
// newer processor.
#pragma once

#include <cstdint>

namespace blip2 {

/** Integer weights have rows of a multiple of this length, filled up with zeros. */
constexpr std::int64_t kIntegerStep = 64;
/**
 * Integer weights lie in blocks of so many outputs, the last filled up: first kIntegerStep inputs of each, then the
 * next inputs of each. A block is read from one end to the other, which memory does best. Scales of int4 lie likewise.
 */
constexpr std::int64_t kOutputBlock = 4;
/** So many int4 weights share a scale. */
constexpr std::int64_t kInt4Group = kIntegerStep;

/**
 * What one call works on: outputs [begin, end), of a multiple of kOutputBlock on, against `rows` rows of x. Every
 * output is summed in an order that depends on `in` alone, so that a row's result is the same in every batch and for
 * every number of threads.
 */
struct LinearTask {
  const void* weight = nullptr;         // [out, in]: row-major, or integers in blocks
  const float* weight_scale = nullptr;  // int8 only: [out]
  const std::uint16_t* group_scale =
      nullptr;                  // int4 only: bfloat16 [out / kOutputBlock, in / kInt4Group, kOutputBlock]
  const float* bias = nullptr;  // [out] or null
  std::int64_t in = 0, begin = 0, end = 0, rows = 0;
  const float* x = nullptr;                 // float kernels: [rows, in]
  std::int64_t parts_per_row = 2;           // int8: 2 of 15 bits by halve_row, or 1 of 8 bits by round_row_int8
  const std::int8_t* parts = nullptr;       // int8: [parts_per_row * rows, stride]
  const std::int32_t* part_sums = nullptr;  // int8: [parts_per_row * rows]
  const std::int16_t* inputs = nullptr;     // int4: [rows, stride], from round_row
  std::int64_t stride = 0;                  // of both: no power of two, so that a cache holds several rows' beginnings
  const float* x_scale = nullptr;           // both integers: [rows]
  float* y = nullptr;                       // [rows, y_stride]
  std::int64_t y_stride = 0;
};

/**
 * Attention of one new position per row. Keys and values lie where they were computed: an entry for every row and
 * position points to its `heads * width` numbers. (Row, head) pairs [begin, end) are worked on, pair h * rows + r being
 * head h of row r, so that beams of one picture find each other's keys in the cache.
 */
struct StepAttentionTask {
  std::int64_t begin = 0, end = 0, rows = 0, heads = 0, width = 0, positions = 0;
  const float* query = nullptr;                                 // [rows, heads * width]
  const float* const* keys = nullptr;                           // [rows, positions]
  const float* const* values = nullptr;                         // [rows, positions]
  const float* mask = nullptr;                                  // added to the scores, or null
  std::int64_t mask_row = 0, mask_head = 0, mask_position = 0;  // its strides
  float scale = 1;
  float* scores = nullptr;   // room for [positions] numbers
  float* context = nullptr;  // [rows, heads * width]
};

/** Elements [first, first + count) of a dropout: kept where their random 32 bits reach the threshold. */
struct DropoutTask {
  std::uint64_t seed = 0;
  std::int64_t first = 0, count = 0;
  std::uint32_t threshold = 0;
  float scale = 1;
  const float* x = nullptr;         // of element `first` on, as all of these
  const float* residual = nullptr;  // added, or null
  float* y = nullptr;
};

struct CpuKernels {
  void (*from_float)(const LinearTask&);
  void (*from_bfloat16)(const LinearTask&);
  void (*from_half)(const LinearTask&);
  void (*from_int8)(const LinearTask&);  // of both integers, `in` is a multiple of kIntegerStep
  void (*from_int4)(const LinearTask&);
  /**
   * x [count] in 15 bits and a sign, so that only the weights' rounding counts; zeros up to `in`. Returns the scale, by
   * which the largest magnitude is 127 * 128 + 127.
   */
  float (*round_row)(const float* x, std::int64_t count, std::int64_t in, std::int16_t* rounded);
  /** Such a row as 128 * high + low with |high|, |low| <= 127: high, low `stride` behind it, and the sums of both. */
  void (*halve_row)(const std::int16_t* rounded, std::int64_t in, std::int64_t stride, std::int8_t* parts,
                    std::int32_t* part_sums);
  /** x [count] in 8 bits as round_weights_int8 rounds, and the sum of what it became. Returns the scale. */
  float (*round_row_int8)(const float* x, std::int64_t count, std::int64_t in, std::int8_t* part, std::int32_t* sum);
  /** The nearest int8 multiples of the returned scale, by which the largest value is 127; zeros up to `in`. */
  float (*round_weights_int8)(const float* row, std::int64_t count, std::int64_t in, std::int8_t* rounded);
  /**
   * The nearest multiples, -8 to 7, of a scale that suits each group; zeros up to `in`. A group is 16 numbers of 16
   * bits, of which number i holds weights i, 16 + i, 32 + i and 48 + i from its lowest bits up.
   */
  void (*round_weights_int4)(const float* row, std::int64_t count, std::int64_t in, std::uint16_t* packed,
                             std::uint16_t* scales);
  void (*attend_step)(const StepAttentionTask&);
  void (*drop)(const DropoutTask&);
  /** Rows of x up to which from_float beats LibTorch's own product. */
  std::int64_t most_float_rows;
  /** The same of from_bfloat16 and from_half beside widening the weights for LibTorch's product. */
  std::int64_t most_narrow_rows;
  const char* name;
};

/** What this processor runs, the best at 0; null behind the last. */
const CpuKernels* cpu_kernel_variant(int index);

inline const CpuKernels& cpu_kernels() {
  return *cpu_kernel_variant(0);
}

}  // namespace blip2
