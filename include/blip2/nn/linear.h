// The linear layer of every model here. Beside torch::nn::Linear's weights in the dtype of the computation it computes
// in float32 with weights that are kept narrower: bfloat16 or float16 as files hold them, exact and half the memory, or
// rounded to int8 or int4. Integers always, and floating weights where few rows are read (the token steps of decoding),
// have loops of their own that run at the speed of the memory; larger products are left to the library's GEMM. How many
// rows are few depends on the processor's loops (cpu_kernels.h).
#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "blip2/nn/weight_options.h"

namespace blip2 {

/**
 * x [..., in] times weight [out, in] transposed, plus bias [out] (may be undefined) -> [..., out] in the dtype of x, or
 * in half precision within an Autocast. A weight of another floating dtype is converted on the way, and never kept so
 * for the backward pass where it is frozen.
 */
at::Tensor apply_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias = {});

/**
 * While one lives in a thread, linear layers add their weights' gradients to `grad` themselves in the backward pass of
 * what is computed meanwhile: one product each, where autograd makes a tensor for every use of a weight and adds them
 * up. `grad` is the same then. Hooks on the weights are not called, and torch::autograd::grad() of them is empty.
 */
class GradientsInPlace {
 public:
  GradientsInPlace() { ++depth(); }
  ~GradientsInPlace() { --depth(); }
  GradientsInPlace(const GradientsInPlace&) = delete;
  GradientsInPlace& operator=(const GradientsInPlace&) = delete;

  static bool active() { return depth() > 0; }

 private:
  static int& depth();
};

/** What a weight is rounded to. */
enum class IntegerWeights {
  kInt8,  // one scale per output
  kInt4   // one scale per 64 inputs of an output
};

/** What the inputs of a product with rounded weights are rounded to; each row has a scale. */
enum class IntegerInputs {
  k15Bits,  // so that only the weights' rounding counts
  k8Bits    // half the work; with int8 weights
};

class LinearImpl : public torch::nn::Module {
 public:
  /** Fresh weights are torch::nn::Linear's: uniform in +-1 / sqrt(in). */
  LinearImpl(std::int64_t in, std::int64_t out, bool with_bias = true, const WeightOptions& options = {});

  void reset_parameters();

  /** x [..., in] -> [..., out]. */
  at::Tensor forward(const at::Tensor& x) const;

  /**
   * Rounds the weight for inference on the CPU; it takes no gradient from now on. `weight` becomes int8 [out, in], or
   * int16 [out, in / 4] of four int4 each, filled up and in the order of the product's loops.
   */
  void quantize(IntegerWeights format = IntegerWeights::kInt8, IntegerInputs inputs = IntegerInputs::k15Bits);
  bool is_quantized() const { return scale_.defined(); }

  at::Tensor weight;  // [out, in]
  at::Tensor bias;    // [out], undefined without

 private:
  friend std::vector<at::Tensor> forward_together(const at::Tensor& x, std::initializer_list<const LinearImpl*> layers);

  std::int64_t in_;
  at::Tensor scale_;  // of a quantized weight: float32 [out], or bfloat16 [out, inputs / 64]
  IntegerInputs inputs_ = IntegerInputs::k15Bits;
};
TORCH_MODULE(Linear);

/** What each layer makes of the same x, which is prepared once: query, key and value of an attention. */
std::vector<at::Tensor> forward_together(const at::Tensor& x, std::initializer_list<const LinearImpl*> layers);

}  // namespace blip2
