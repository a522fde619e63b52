#include "nn/float_product.h"

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>

namespace blip2 {
namespace {

/** oneDNN's product, an operator without a function in C++; none where LibTorch was built without oneDNN. */
std::optional<c10::OperatorHandle> find_operator() {
  return c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""});
}

bool processor_wants_onednn() {
#if defined(__x86_64__)
  return __builtin_cpu_is("intel") == 0 && __builtin_cpu_supports("avx512f") != 0 && find_operator();
#else
  return false;
#endif
}

}  // namespace

bool multiplies_with_onednn(const at::Tensor& x) {
  static const bool wanted = processor_wants_onednn();
  return wanted && x.is_cpu() && x.scalar_type() == at::kFloat && at::globalContext().userEnabledMkldnn();
}

at::Tensor product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  if (!multiplies_with_onednn(x) || x.numel() == 0) {
    return at::linear(x, weight, bias.defined() ? std::optional(bias) : std::nullopt);
  }
  static const c10::OperatorHandle handle = *find_operator();
  const c10::IValue added = bias.defined() ? c10::IValue(bias) : c10::IValue();
  torch::jit::Stack stack = {x, weight, added, "none", c10::List<std::optional<at::Scalar>>(), ""};
  handle.callBoxed(stack);
  return stack.at(0).toTensor();
}

void add_product(const at::Tensor& sum, const at::Tensor& x, const at::Tensor& weight) {
  if (!multiplies_with_onednn(x) || x.numel() == 0) {
    sum.addmm_(x, weight.t());
    return;
  }
  sum.add_(product(x, weight));
}

}  // namespace blip2
