// Activation functions by the names that model configs use (Hugging Face `hidden_act`, `dense_act_fn`, ...).
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

namespace blip2 {

enum class Activation { kGelu, kGeluTanh, kQuickGelu, kRelu, kSilu };

/** "gelu" (exact, erf), "gelu_new" (tanh), "quick_gelu" (x sigmoid(1.702 x)), "relu", "silu". Throws UserError. */
Activation activation_from_name(const std::string& name);

at::Tensor activate(const at::Tensor& x, Activation activation);

}  // namespace blip2
