#include "blip2/nn/dropout.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <torch/torch.h>

#include <cmath>
#include <mutex>

#include "blip2/nn/autocast.h"
#include "nn/cpu_kernels.h"

namespace blip2 {
namespace {

constexpr std::int64_t kGrain = std::int64_t{1} << 16;

std::uint64_t draw_seed() {
  at::Generator generator = at::detail::getDefaultCPUGenerator();
  const std::lock_guard lock(generator.mutex());
  return at::check_generator<at::CPUGeneratorImpl>(generator)->random64();
}

/** Elements lie as they do in memory; a place counts up to 2^32 within one seed. */
at::Tensor drop(const at::Tensor& x, const at::Tensor& residual, double probability, std::uint64_t seed) {
  const at::Tensor dense = x.contiguous(), added = residual.defined() ? residual.contiguous() : residual;
  at::Tensor y = at::empty_like(dense);
  DropoutTask whole;
  whole.threshold = static_cast<std::uint32_t>(std::lround(probability * 4294967296.0));
  whole.scale = static_cast<float>(1.0 / (1.0 - probability));
  const float* in = dense.const_data_ptr<float>();
  const float* add = added.defined() ? added.const_data_ptr<float>() : nullptr;
  float* out = y.mutable_data_ptr<float>();
  at::parallel_for(0, dense.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t at = begin; at < end; at += kGrain) {
      DropoutTask task = whole;
      task.seed = seed + (static_cast<std::uint64_t>(at) >> 32) * 0x9e3779b97f4a7c15ULL;
      task.first = at;
      task.count = std::min(kGrain, end - at);
      task.x = in + at;
      task.residual = add != nullptr ? add + at : nullptr;
      task.y = out + at;
      cpu_kernels().drop(task);
    }
  });
  return y;
}

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

at::Tensor drop_and_remember(AutogradContext* context, const at::Tensor& x, const at::Tensor& residual,
                             double probability) {
  const std::uint64_t seed = draw_seed();
  context->saved_data["probability"] = probability;
  context->saved_data["seed"] = static_cast<std::int64_t>(seed);
  return drop(x, residual, probability, seed);
}

at::Tensor drop_again(AutogradContext* context, const at::Tensor& gradient) {
  const auto seed = static_cast<std::uint64_t>(context->saved_data["seed"].toInt());
  return drop(gradient, {}, context->saved_data["probability"].toDouble(), seed);
}

class Dropout : public torch::autograd::Function<Dropout> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, double probability) {
    return drop_and_remember(context, x, {}, probability);
  }
  static tensor_list backward(AutogradContext* context, const tensor_list& gradients) {
    return {drop_again(context, gradients[0]), at::Tensor()};
  }
};

class DropoutAdd : public torch::autograd::Function<DropoutAdd> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& residual,
                            double probability) {
    return drop_and_remember(context, x, residual, probability);
  }
  static tensor_list backward(AutogradContext* context, const tensor_list& gradients) {
    return {drop_again(context, gradients[0]), gradients[0], at::Tensor()};
  }
};

/** Half precision is widened, which a sum with what is not half would do too. */
bool has_kernel(const at::Tensor& x) {
  return x.is_cpu() && x.scalar_type() != at::kDouble;
}

void check(double probability) {
  TORCH_CHECK(probability >= 0 && probability < 1, "dropout: a probability must be in [0, 1), got ", probability);
}

}  // namespace

at::Tensor dropout(const at::Tensor& x, double probability) {
  check(probability);
  if (probability == 0) return x;
  return has_kernel(x) ? Dropout::apply(at_least_float(x), probability) : at::dropout(x, probability, /*train=*/true);
}

at::Tensor dropout_add(const at::Tensor& x, const at::Tensor& residual, double probability) {
  check(probability);
  if (probability == 0) return x + residual;
  if (has_kernel(x) && has_kernel(residual)) {
    return DropoutAdd::apply(at_least_float(x), at_least_float(residual), probability);
  }
  return at::dropout(x, probability, /*train=*/true) + residual;
}

}  // namespace blip2
