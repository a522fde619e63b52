// Linear layers, norms and tables under the names that Hugging Face gives them. Norms and tables are plain tensors in
// bare modules: torch::nn's would be float32 on the CPU whatever comes next; these follow WeightOptions.
#pragma once

#include <torch/nn/module.h>

#include <memory>
#include <string>

#include "blip2/nn/linear.h"
#include "blip2/nn/weight_options.h"

namespace blip2 {

/** What a new parameter holds: normal numbers, or the mean alone when the deviation is 0. */
struct Filling {
  double mean = 0;
  double deviation = 0;
};

/** A bare module `name` below `parent`. */
torch::nn::Module& add_child(torch::nn::Module& parent, const std::string& name);

/** A new parameter `name` of `owner`. */
at::Tensor add_parameter(torch::nn::Module& owner, const std::string& name, at::IntArrayRef sizes,
                         const Filling& filling, const WeightOptions& weights);

/** A layer `parent.name` with a weight [out, in] of the given deviation and, on request, a bias of zeros. */
Linear add_linear(torch::nn::Module& parent, const std::string& name, std::int64_t in, std::int64_t out, bool bias,
                  double deviation, const WeightOptions& weights);

/** A table `parent.name.weight` [rows, width] of the given deviation. */
at::Tensor add_table(torch::nn::Module& parent, const std::string& name, std::int64_t rows, std::int64_t width,
                     double deviation, const WeightOptions& weights);

/** (x - mean) / sqrt(variance + eps) * weight + bias; weight and bias may be undefined. */
struct LayerNorm {
  std::int64_t width = 0;
  double eps = 1e-5;
  at::Tensor weight, bias;
  at::Tensor operator()(const at::Tensor& x) const;
};

LayerNorm add_layer_norm(torch::nn::Module& parent, const std::string& name, std::int64_t width, double eps,
                         bool affine, const WeightOptions& weights);

/** x / sqrt(mean(x^2) + eps) * weight. */
struct RmsNorm {
  double eps = 1e-6;
  bool float32_variance = false;  // round the mean to float32 even in float64
  at::Tensor weight;
  at::Tensor operator()(const at::Tensor& x) const;
};

RmsNorm add_rms_norm(torch::nn::Module& parent, const std::string& name, std::int64_t width, double eps,
                     double initial_weight, const WeightOptions& weights);

}  // namespace blip2
