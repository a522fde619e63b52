#include "nn/float_product.h"

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>

namespace blip2 {
namespace {

/** An operator of LibTorch that has no function in C++; none where LibTorch was built without oneDNN. */
std::optional<c10::OperatorHandle> find_operator(const char* overload) {
  return c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", overload});
}

bool processor_wants_onednn() {
#if defined(__x86_64__)
  return __builtin_cpu_is("intel") == 0 && __builtin_cpu_supports("avx512f") != 0 && find_operator("") &&
         find_operator("binary");
#else
  return false;
#endif
}

at::Tensor call(const c10::OperatorHandle& handle, torch::jit::Stack arguments) {
  handle.callBoxed(arguments);
  return arguments.at(0).toTensor();
}

c10::IValue optional(const at::Tensor& tensor) {
  return tensor.defined() ? c10::IValue(tensor) : c10::IValue();
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
  static const c10::OperatorHandle handle = *find_operator("");
  const c10::List<std::optional<at::Scalar>> no_numbers;
  return call(handle, {x, weight, optional(bias), "none", no_numbers, ""});
}

void add_product(at::Tensor& sum, const at::Tensor& x, const at::Tensor& weight) {
  if (!multiplies_with_onednn(x) || x.numel() == 0) {
    sum.addmm_(x, weight.t());
    return;
  }
  sum.add_(product(x, weight));
}

}  // namespace blip2
