#include "blip2/nn/linear.h"

#include <ATen/Parallel.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "blip2/core/weight_memory.h"
#include "nn/linear_kernels.h"

namespace blip2 {
namespace {

// A thread's least share of a product, in multiplications, below which starting it costs more than it brings.
constexpr std::int64_t kLeastWork = 1 << 16;
// What the rows of x that are multiplied at once may take, in bytes, so that a core's cache keeps them.
constexpr std::int64_t kRowBytes = 384 << 10;

/** The kernel runs over all outputs, shared among the threads, and over the rows of x in blocks. */
void run(void (*kernel)(const LinearTask&), const LinearTask& task, std::int64_t out, std::int64_t row_bytes) {
  const std::int64_t grain = std::max<std::int64_t>(1, kLeastWork / std::max<std::int64_t>(1, task.in * task.rows));
  // Whole tiles of every variant: six, five and four rows, and three pairs.
  const std::int64_t most = std::max<std::int64_t>(12, kRowBytes / row_bytes);
  const std::int64_t blocks = (task.rows + most - 1) / most;
  const std::int64_t block = (task.rows + blocks - 1) / blocks;
  at::parallel_for(0, out, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = 0; row < task.rows; row += block) {
      LinearTask share = task;
      share.begin = begin;
      share.end = end;
      share.rows = std::min(block, task.rows - row);
      if (share.x != nullptr) share.x += row * task.in;
      if (share.parts != nullptr) share.parts += 2 * row * task.in;
      if (share.part_sums != nullptr) share.part_sums += 2 * row;
      if (share.x_scale != nullptr) share.x_scale += row;
      share.y += row * task.y_stride;
      kernel(share);
    }
  });
}

const float* data_or_null(const at::Tensor& bias) {
  return bias.defined() ? bias.const_data_ptr<float>() : nullptr;
}

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
  run(float_kernel(weight.scalar_type()), task, weight.size(0), task.in * 4);
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

namespace {

/** x [rows, in] contiguous times an int8 weight -> [rows, out]. */
at::Tensor integer_product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& scale,
                           const at::Tensor& bias) {
  const LinearKernels& kernels = linear_kernels();
  const std::int64_t rows = x.size(0), count = x.size(1), in = weight.size(1);
  const at::Tensor parts = at::empty({2 * rows, in}, at::kChar), part_sums = at::empty({rows, 2}, at::kInt);
  const at::Tensor x_scale = at::empty({rows}, at::kFloat);
  auto* part = parts.data_ptr<std::int8_t>();
  auto* sums = part_sums.data_ptr<std::int32_t>();
  auto* scales = x_scale.data_ptr<float>();
  const float* values = x.const_data_ptr<float>();
  at::parallel_for(0, rows, std::max<std::int64_t>(1, kLeastWork / count), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      scales[r] = kernels.quantize_row(values + r * count, count, in, part + 2 * r * in, sums + 2 * r);
    }
  });
  at::Tensor y = at::empty({rows, weight.size(0)}, x.options());
  LinearTask task;
  task.weight = weight.const_data_ptr();
  task.weight_scale = scale.const_data_ptr<float>();
  task.bias = data_or_null(bias);
  task.in = in;
  task.rows = rows;
  task.parts = part;
  task.part_sums = sums;
  task.x_scale = scales;
  task.y = y.data_ptr<float>();
  task.y_stride = weight.size(0);
  run(kernels.from_int8, task, weight.size(0), task.in * 2);
  return y;
}

// Rows of a weight that are widened at once to be rounded.
constexpr std::int64_t kRowsAtOnce = 32;

}  // namespace

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
  return with_shape_of(integer_product(flattened(x.to(at::kFloat)), weight, scale_, bias), x).to(x.scalar_type());
}

void LinearImpl::quantize() {
  if (is_quantized()) return;
  TORCH_CHECK(weight.is_cpu(), "quantize: expected a weight on the CPU, found one on ", weight.device());
  const std::int64_t out = weight.size(0), padded = (in_ + kIntegerStep - 1) / kIntegerStep * kIntegerStep;
  const LinearKernels& kernels = linear_kernels();
  const at::Tensor rounded = empty_weight({out, padded}, at::kChar);
  const at::Tensor scale = at::empty({out}, at::kFloat), stored = weight.detach();
  auto* rows = rounded.data_ptr<std::int8_t>();
  auto* scales = scale.data_ptr<float>();
  at::parallel_for(0, out, std::max<std::int64_t>(1, kLeastWork / in_), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t next = begin; next < end; next += kRowsAtOnce) {
      const std::int64_t count = std::min(kRowsAtOnce, end - next);
      const at::Tensor wide = stored.narrow(0, next, count).to(at::kFloat).contiguous();
      for (std::int64_t r = 0; r < count; ++r) {
        const float* row = wide.const_data_ptr<float>() + r * in_;
        scales[next + r] = kernels.round_row(row, in_, padded, rows + (next + r) * padded);
      }
    }
  });
  scale_ = scale;
  weight.requires_grad_(false);
  weight.set_data(rounded);
}

}  // namespace blip2
