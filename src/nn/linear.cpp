#include "blip2/nn/linear.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "blip2/core/weight_memory.h"
#include "nn/integer_product.h"

namespace blip2 {
namespace {

/** The kernel for weights of this dtype, or null. */
auto float_kernel(at::ScalarType dtype) -> void (*)(const LinearTask&) {
  const LinearKernels& kernels = linear_kernels();
  if (dtype == at::kFloat) return kernels.from_float;
  if (dtype == at::kBFloat16) return kernels.from_bfloat16;
  return dtype == at::kHalf ? kernels.from_half : nullptr;
}

/** x [rows, in] contiguous -> [rows, out]. */
at::Tensor own_product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  at::Tensor y = at::empty({x.size(0), weight.size(0)}, x.options());
  LinearTask task;
  task.weight = weight.const_data_ptr();
  task.bias = data_or_null(bias);
  task.in = weight.size(1);
  task.rows = x.size(0);
  task.x = x.const_data_ptr<float>();
  task.y = y.data_ptr<float>();
  task.y_stride = weight.size(0);
  run_kernel(float_kernel(weight.scalar_type()), task, weight.size(0), task.in * 4);
  return y;
}

bool records_gradients(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  return at::GradMode::is_enabled() &&
         (x.requires_grad() || weight.requires_grad() || (bias.defined() && bias.requires_grad()));
}

at::Tensor flattened(const at::Tensor& x) {
  return x.reshape({-1, x.size(-1)}).contiguous();
}

at::Tensor with_shape_of(const at::Tensor& y, const at::Tensor& x) {
  std::vector<std::int64_t> shape = x.sizes().vec();
  shape.back() = y.size(1);
  return y.view(shape);
}

}  // namespace

at::Tensor apply_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const std::int64_t rows = x.numel() / std::max<std::int64_t>(1, x.size(-1));
  const bool narrow = weight.scalar_type() != x.scalar_type();
  const bool own_loops = x.scalar_type() == at::kFloat && x.is_cpu() && weight.is_cpu() && weight.is_contiguous() &&
                         x.size(-1) == weight.size(1) && rows > 0 && float_kernel(weight.scalar_type()) != nullptr &&
                         (!bias.defined() || bias.scalar_type() == at::kFloat) && !records_gradients(x, weight, bias);
  if (own_loops && (narrow || rows <= linear_kernels().most_float_rows)) {
    return with_shape_of(own_product(flattened(x), weight, bias), x);
  }
  std::optional<at::Tensor> added;
  if (bias.defined()) added = bias.to(x.scalar_type());
  return at::linear(x, weight.to(x.scalar_type()), added);
}

LinearImpl::LinearImpl(std::int64_t in, std::int64_t out, bool with_bias, const WeightOptions& options)
    : torch::nn::Module("Linear"), in_(in) {
  const auto tensor = at::TensorOptions().dtype(options.dtype).device(options.device);
  weight = register_parameter(
      "weight", options.device.is_cpu() ? empty_weight({out, in}, options.dtype) : at::empty({out, in}, tensor));
  if (with_bias) bias = register_parameter("bias", at::empty({out}, tensor));
  if (!SkipInitialization::active()) reset_parameters();
}

void LinearImpl::reset_parameters() {
  torch::NoGradGuard no_grad;
  const double bound = 1.0 / std::sqrt(static_cast<double>(in_));
  torch::nn::init::kaiming_uniform_(weight, std::sqrt(5.0));
  if (bias.defined()) torch::nn::init::uniform_(bias, -bound, bound);
}

at::Tensor LinearImpl::forward(const at::Tensor& x) const {
  if (!is_quantized()) return apply_linear(x, weight, bias);
  TORCH_CHECK(x.size(-1) == in_, "linear: expected inputs of width ", in_, ", got ", x.sizes());
  return with_shape_of(integer_product(flattened(x.to(at::kFloat)), {weight, scale_}, bias), x).to(x.scalar_type());
}

void LinearImpl::quantize(IntegerWeights format) {
  if (is_quantized()) return;
  const RoundedWeight rounded = round_weight(weight.detach(), format);
  scale_ = rounded.scale;
  weight.requires_grad_(false);
  weight.set_data(rounded.values);
}

}  // namespace blip2
