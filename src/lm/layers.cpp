#include "lm/layers.h"

#include <torch/torch.h>

namespace blip2 {

torch::nn::Module& add_child(torch::nn::Module& parent, const std::string& name) {
  return *parent.register_module(name, std::make_shared<torch::nn::Module>(name));
}

at::Tensor add_parameter(torch::nn::Module& owner, const std::string& name, at::IntArrayRef sizes,
                         const Filling& filling, const WeightOptions& weights) {
  at::Tensor tensor = at::empty(sizes, at::TensorOptions().dtype(weights.dtype).device(weights.device));
  if (!SkipInitialization::active()) {
    if (filling.deviation > 0) {
      tensor.normal_(filling.mean, filling.deviation);
    } else {
      tensor.fill_(filling.mean);
    }
  }
  return owner.register_parameter(name, std::move(tensor));
}

Linear add_linear(torch::nn::Module& parent, const std::string& name, std::int64_t in, std::int64_t out, bool bias,
                  double deviation, const WeightOptions& weights) {
  Linear layer{nullptr};
  {
    const SkipInitialization filled_below;
    layer = parent.register_module(name, Linear(in, out, bias, weights));
  }
  if (SkipInitialization::active()) return layer;
  torch::NoGradGuard no_grad;
  layer->weight.normal_(0, deviation);
  if (bias) layer->bias.zero_();
  return layer;
}

at::Tensor add_table(torch::nn::Module& parent, const std::string& name, std::int64_t rows, std::int64_t width,
                     double deviation, const WeightOptions& weights) {
  return add_parameter(add_child(parent, name), "weight", {rows, width}, {0, deviation}, weights);
}

at::Tensor LayerNorm::operator()(const at::Tensor& x) const {
  return at::layer_norm(x, {width}, weight, bias, eps);
}

LayerNorm add_layer_norm(torch::nn::Module& parent, const std::string& name, std::int64_t width, double eps,
                         bool affine, const WeightOptions& weights) {
  LayerNorm norm{width, eps, {}, {}};
  if (affine) {
    auto& child = add_child(parent, name);
    norm.weight = add_parameter(child, "weight", {width}, {1, 0}, weights);
    norm.bias = add_parameter(child, "bias", {width}, {0, 0}, weights);
  }
  return norm;
}

at::Tensor RmsNorm::operator()(const at::Tensor& x) const {
  if (!float32_variance) return at::rms_norm(x, weight.sizes(), weight, eps);
  const at::Tensor variance = x.to(at::kFloat).square().mean(-1, /*keepdim=*/true);
  return weight * (x * at::rsqrt(variance + eps));
}

RmsNorm add_rms_norm(torch::nn::Module& parent, const std::string& name, std::int64_t width, double eps,
                     double initial_weight, const WeightOptions& weights) {
  return {eps, /*float32_variance=*/false,
          add_parameter(add_child(parent, name), "weight", {width}, {initial_weight, 0}, weights)};
}

}  // namespace blip2
