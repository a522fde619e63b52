// Products with weights that are rounded to few bits: rounding once, multiplying in integers. The inputs are rounded to
// 15 bits for every product, so that what is lost is the weights' rounding, or to 8 where speed counts more.
#pragma once

#include <ATen/core/Tensor.h>

#include <span>
#include <vector>

#include "blip2/nn/linear.h"
#include "nn/cpu_kernels.h"

namespace blip2 {

/**
 * A weight as the kernels read it: inputs filled up to a multiple of kIntegerStep, outputs of kOutputBlock. The scale
 * is filled up likewise but shows the true number of outputs.
 */
struct RoundedWeight {
  at::Tensor values;  // int8 [out, in], or int16 [out, in / 4] of four int4 each
  at::Tensor scale;   // float32 [out], or bfloat16 [out, in / kInt4Group]
};

/** Rounds weight [out, in] on the CPU, of any floating dtype. Inputs wider than the sums have room for are refused. */
RoundedWeight round_weight(const at::Tensor& weight, IntegerWeights format);

/** A weight and its bias [out], which may be undefined. */
struct RoundedLayer {
  RoundedWeight weight;
  at::Tensor bias;
};

/**
 * x [rows, in] float32 contiguous times each weight transposed, plus its bias -> [rows, out] each. The weights have one
 * format and one number of inputs, so that x is rounded once.
 */
std::vector<at::Tensor> integer_products(const at::Tensor& x, std::span<const RoundedLayer> layers,
                                         IntegerInputs inputs = IntegerInputs::k15Bits);

/**
 * Runs a kernel for tasks with the same rows and inputs, their outputs [0, end) shared among the threads; `row_bytes`
 * is what a row of the inputs takes.
 */
void run_kernel(void (*kernel)(const LinearTask&), std::span<const LinearTask> tasks, std::int64_t row_bytes);

inline const float* data_or_null(const at::Tensor& bias) {
  return bias.defined() ? bias.const_data_ptr<float>() : nullptr;
}

// A thread's least share of a product, in multiplications, below which starting it costs more than it brings.
constexpr std::int64_t kLeastWork = 1 << 16;

}  // namespace blip2
