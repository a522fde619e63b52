// The float32 products that are left to a library. LibTorch brings two: MKL, which at::linear asks, knows the newest
// instructions of Intel's processors alone, and oneDNN knows everybody's. On an AMD EPYC with 512-bit units (Zen 5)
// oneDNN multiplies 2.2 times as fast.
#pragma once

#include <ATen/core/Tensor.h>

namespace blip2 {

/** Whether products of x are oneDNN's, and so cannot be recorded by autograd. */
bool multiplies_with_onednn(const at::Tensor& x);

/** x [rows, in] times weight [out, in] transposed, plus bias [out] (may be undefined), of one dtype -> [rows, out]. */
at::Tensor product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias = {});

/** Adds x [rows, in] times weight [out, in] transposed to sum [rows, out], in its place. */
void add_product(const at::Tensor& sum, const at::Tensor& x, const at::Tensor& weight);

}  // namespace blip2
