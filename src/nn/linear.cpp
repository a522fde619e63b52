#include "blip2/nn/linear.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "blip2/core/weight_memory.h"
#include "blip2/nn/autocast.h"
#include "nn/float_product.h"
#include "nn/integer_product.h"

namespace blip2 {
namespace {

/** The kernel for weights of this dtype, or null. */
auto float_kernel(at::ScalarType dtype) -> void (*)(const LinearTask&) {
  const CpuKernels& kernels = cpu_kernels();
  if (dtype == at::kFloat) return kernels.from_float;
  if (dtype == at::kBFloat16) return kernels.from_bfloat16;
  return dtype == at::kHalf ? kernels.from_half : nullptr;
}

/** A product of x [rows, in], contiguous, by float_kernel -> `y` [rows, out]. */
LinearTask float_task(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, at::Tensor& y) {
  LinearTask task;
  task.weight = weight.const_data_ptr();
  task.bias = data_or_null(bias);
  task.in = weight.size(1);
  task.rows = x.size(0);
  task.x = x.const_data_ptr<float>();
  task.y = y.data_ptr<float>();
  task.end = task.y_stride = weight.size(0);
  return task;
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

/** Rows of x up to which float loops of our own beat oneDNN's, which multiplies many rows faster than MKL. */
constexpr std::int64_t kMostFloatRows = 32, kMostNarrowRows = 64;

std::int64_t most_rows_of_own_loops(const at::Tensor& x, bool narrow) {
  const std::int64_t beside_mkl = narrow ? cpu_kernels().most_narrow_rows : cpu_kernels().most_float_rows;
  return multiplies_with_onednn(x) ? std::min(beside_mkl, narrow ? kMostNarrowRows : kMostFloatRows) : beside_mkl;
}

/** Whether the product is one for the loops of cpu_kernels.h. */
bool has_own_loops(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const std::int64_t rows = x.numel() / std::max<std::int64_t>(1, x.size(-1));
  const bool narrow = weight.scalar_type() != x.scalar_type();
  const bool possible = x.scalar_type() == at::kFloat && x.is_cpu() && weight.is_cpu() && weight.is_contiguous() &&
                        x.size(-1) == weight.size(1) && rows > 0 && float_kernel(weight.scalar_type()) != nullptr &&
                        (!bias.defined() || bias.scalar_type() == at::kFloat) && !records_gradients(x, weight, bias) &&
                        product_dtype(x) == at::kFloat;
  return possible && rows <= most_rows_of_own_loops(x, narrow);
}

/**
 * A weight as a factor of a product in `dtype`, until the next is asked for: widened on the CPU into room that is kept,
 * because the kernel takes longer to find fresh memory than a product with a picture's rows.
 */
at::Tensor as_factor(const at::Tensor& weight, at::ScalarType dtype) {
  if (!weight.is_cpu() || dtype != at::kFloat || weight.scalar_type() == dtype) return weight.to(dtype);
  thread_local at::Tensor room;
  if (!room.defined() || room.numel() < weight.numel()) {
    const c10::InferenceMode off(false);  // or it could not be written to outside of one
    room = at::empty({weight.numel()}, dtype);
  }
  return room.narrow(0, 0, weight.numel()).view(weight.sizes()).copy_(weight);
}

/** y's gradient [rows, out] times x [rows, in], added to the gradient of a weight, whose dtype it takes. */
void add_gradient(at::Tensor weight, const at::Tensor& of_y, const at::Tensor& x) {
  at::Tensor& gradient = weight.mutable_grad();
  if (!gradient.defined()) {
    gradient = product(of_y.t(), x.t()).to(weight.scalar_type());
  } else if (gradient.scalar_type() == of_y.scalar_type()) {
    add_product(gradient, of_y.t(), x.t());
  } else {
    gradient.add_(of_y.t().mm(x));
  }
}

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

at::Tensor input_gradient(const at::Tensor& gradient, const at::Tensor& weight, at::IntArrayRef shape) {
  return product(gradient, as_factor(weight, gradient.scalar_type()).t()).view(shape);
}

/** The product of any number of dimensions that nobody records. */
at::Tensor unrecorded_product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  return with_shape_of(product(flattened(x), weight, bias), x);
}

/** A product in `dtype` whose backward pass adds to the leaves' `grad` in place (GradientsInPlace). */
class InPlaceLinear : public torch::autograd::Function<InPlaceLinear> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const at::Tensor& bias, at::ScalarType dtype) {
    const FullPrecision as_given;
    const at::Tensor rows = x.to(dtype);
    context->save_for_backward({rows, weight, bias});
    return unrecorded_product(rows, weight.to(dtype), bias.to(dtype));
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &bias = saved[2];
    const at::Tensor gradient = flattened(gradients[0]);
    add_gradient(weight, gradient, flattened(x));
    const at::Tensor sum = gradient.sum(0, /*keepdim=*/false, bias.scalar_type());
    at::Tensor& of_bias = bias.mutable_grad();
    of_bias = of_bias.defined() ? of_bias.add_(sum) : sum;
    at::Tensor of_x;
    if (context->needs_input_grad(0)) of_x = input_gradient(gradient, weight, x.sizes());
    return {of_x, at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

/** A product with a frozen weight: one that is narrower than the product is never kept widened. */
class FrozenLinear : public torch::autograd::Function<FrozenLinear> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias, at::ScalarType dtype) {
    const FullPrecision as_given;
    context->save_for_backward({weight});
    return apply_linear(x.to(dtype), weight, bias ? bias->to(dtype) : at::Tensor());
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& gradients) {
    const at::Tensor weight = context->get_saved_variables()[0];
    std::vector<std::int64_t> shape = gradients[0].sizes().vec();
    shape.back() = weight.size(1);
    const at::Tensor of_x = input_gradient(flattened(gradients[0]), weight, shape);
    return {of_x, at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

bool learns(const at::Tensor& parameter) {
  return parameter.defined() && parameter.requires_grad();
}

bool may_add_in_place(const at::Tensor& weight, const at::Tensor& bias) {
  return GradientsInPlace::active() && at::GradMode::is_enabled() && learns(weight) && weight.is_leaf() &&
         learns(bias) && bias.is_leaf();
}

}  // namespace

at::Tensor apply_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  if (has_own_loops(x, weight, bias)) {
    const at::Tensor rows = flattened(x);
    at::Tensor y = at::empty({rows.size(0), weight.size(0)}, x.options());
    const LinearTask task = float_task(rows, weight, bias, y);
    run_kernel(float_kernel(weight.scalar_type()), {&task, 1}, task.in * 4);
    return with_shape_of(y, x);
  }
  const at::ScalarType dtype = product_dtype(x);
  if (may_add_in_place(weight, bias)) return InPlaceLinear::apply(x, weight, bias, dtype);
  const bool is_frozen = at::GradMode::is_enabled() && learns(x) && !learns(weight) && !learns(bias);
  std::optional<at::Tensor> added;
  if (bias.defined()) added = bias;
  if (is_frozen && (weight.scalar_type() != dtype || multiplies_with_onednn(x))) {
    return FrozenLinear::apply(x, weight, added, dtype);
  }
  if (added) added = bias.to(dtype);
  const FullPrecision as_given;
  if (records_gradients(x, weight, bias)) return at::linear(x.to(dtype), weight.to(dtype), added);
  return unrecorded_product(x.to(dtype), as_factor(weight, dtype), added.value_or(at::Tensor()));
}

int& GradientsInPlace::depth() {
  thread_local int depth = 0;
  return depth;
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
  const RoundedLayer layer{{weight, scale_}, bias};
  return with_shape_of(integer_products(flattened(x.to(at::kFloat)), {&layer, 1}, inputs_).front(), x)
      .to(x.scalar_type());
}

void LinearImpl::quantize(IntegerWeights format, IntegerInputs inputs) {
  if (is_quantized()) return;
  TORCH_CHECK(format == IntegerWeights::kInt8 || inputs == IntegerInputs::k15Bits,
              "quantize: int4 takes 15-bit inputs");
  inputs_ = inputs;
  const RoundedWeight rounded = round_weight(weight.detach(), format);
  scale_ = rounded.scale;
  weight.requires_grad_(false);
  weight.set_data(rounded.values);
}

std::vector<at::Tensor> forward_together(const at::Tensor& x, std::initializer_list<const LinearImpl*> layers) {
  const LinearImpl& first = **layers.begin();
  const auto all = [&](const auto& holds) {
    return std::all_of(layers.begin(), layers.end(), [&](const LinearImpl* layer) {
      return layer->in_ == first.in_ && layer->weight.scalar_type() == first.weight.scalar_type() && holds(*layer);
    });
  };
  std::vector<at::Tensor> outputs;
  if (all([&](const LinearImpl& layer) {
        return layer.is_quantized() && layer.inputs_ == first.inputs_ && x.size(-1) == layer.in_;
      })) {
    std::vector<RoundedLayer> rounded;
    for (const LinearImpl* layer : layers) rounded.push_back({{layer->weight, layer->scale_}, layer->bias});
    for (const at::Tensor& y : integer_products(flattened(x.to(at::kFloat)), rounded, first.inputs_)) {
      outputs.push_back(with_shape_of(y, x).to(x.scalar_type()));
    }
  } else if (all([&x](const LinearImpl& layer) {
               return !layer.is_quantized() && has_own_loops(x, layer.weight, layer.bias);
             })) {
    const at::Tensor rows = flattened(x);
    std::vector<LinearTask> tasks;
    for (const LinearImpl* layer : layers) {
      at::Tensor y = at::empty({rows.size(0), layer->weight.size(0)}, x.options());
      tasks.push_back(float_task(rows, layer->weight, layer->bias, y));
      outputs.push_back(with_shape_of(y, x));
    }
    run_kernel(float_kernel(first.weight.scalar_type()), tasks, tasks.front().in * 4);
  } else {
    for (const LinearImpl* layer : layers) outputs.push_back(layer->forward(x));
  }
  return outputs;
}

}  // namespace blip2
