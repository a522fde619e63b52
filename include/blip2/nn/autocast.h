// Half precision for matrix products alone: while an Autocast lives, linear layers and attention multiply in bfloat16
// or float16, and weights, residual sums and losses stay float32 (Micikevicius et al. 2018). A softmax or norm right
// behind a product takes and gives half precision on the CPU, with float32 inside. LibTorch's autocast with two
// differences: nothing is cached, so that a pass can be differentiated in parts, and what must not be rounded says so
// (FullPrecision).
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <string>

namespace blip2 {

/** What matrix products are computed in while training. */
enum class Precision { kFloat32, kBFloat16, kFloat16 };

/** "float32", "bfloat16" or "float16". Throws UserError for another name. */
Precision precision_from_name(const std::string& name);

/** Half precision for products of tensors on `device` in this thread; nothing at all for kFloat32. */
class Autocast {
 public:
  Autocast(Precision precision, at::DeviceType device);
  ~Autocast();
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

  /** The precision of products on `device` now. */
  static Precision active(at::DeviceType device);

 private:
  struct State {
    bool enabled, cached;
    at::ScalarType dtype;
  };
  at::DeviceType device_;
  bool changes_;
  State before_{};
};

/** Within an Autocast: products in the dtype of their inputs again, for losses and backward passes. */
class FullPrecision {
 public:
  FullPrecision();

 private:
  c10::impl::ExcludeDispatchKeyGuard guard_;
};

/** The dtype that a product of x runs in: half precision within an Autocast, x's own otherwise and for float64. */
at::ScalarType product_dtype(const at::Tensor& x);

/** x in float32 where it is half precision, as losses and search want it; float64 stays. */
at::Tensor at_least_float(const at::Tensor& x);

/** The gradients of `loss` [] in full precision, added to the leaves' `grad`. */
void differentiate(const at::Tensor& loss);

/** Whether the CPU multiplies this precision itself; where not, half precision is slower than float32. */
bool cpu_multiplies(Precision precision);

}  // namespace blip2
