#include "blip2/vision/eva_vit.h"

#include <torch/torch.h>

#include "blip2/nn/activation_checkpointing.h"
#include "blip2/nn/attention.h"
#include "blip2/vision/patch_embedding.h"

namespace blip2 {

EvaBlockImpl::EvaBlockImpl(const VisionOptions& options)
    : heads_(options.num_attention_heads), activation_(activation_from_name(options.hidden_act)) {
  const std::int64_t width = options.hidden_size;
  const auto norm = torch::nn::LayerNormOptions({width}).eps(options.layer_norm_eps);
  auto self_attn = register_module("self_attn", std::make_shared<torch::nn::Module>("self_attn"));
  qkv_ = self_attn->register_module("qkv", Linear(width, 3 * width, options.qkv_bias));
  projection_ = self_attn->register_module("projection", Linear(width, width));
  layer_norm1_ = register_module("layer_norm1", torch::nn::LayerNorm(norm));
  auto mlp = register_module("mlp", std::make_shared<torch::nn::Module>("mlp"));
  fc1_ = mlp->register_module("fc1", Linear(width, options.intermediate_size));
  fc2_ = mlp->register_module("fc2", Linear(options.intermediate_size, width));
  layer_norm2_ = register_module("layer_norm2", torch::nn::LayerNorm(norm));
}

at::Tensor EvaBlockImpl::forward(const at::Tensor& x) {
  const std::int64_t batch = x.size(0), tokens = x.size(1), width = x.size(2), head_dim = width / heads_;
  // [B, N, 3, heads, d] -> 3 x [B, heads, N, d]; the rows of qkv are ordered q, k, v.
  const auto qkv = qkv_(layer_norm1_(x)).view({batch, tokens, 3, heads_, head_dim}).permute({2, 0, 3, 1, 4}).unbind(0);
  const at::Tensor context = attention(qkv[0], {qkv[1], qkv[2]}, {}, 1.0 / std::sqrt(static_cast<double>(head_dim)));
  const at::Tensor attended = x + projection_(merge_heads(context));
  return attended + fc2_(activate(fc1_(layer_norm2_(attended)), activation_));
}

EvaVitImpl::EvaVitImpl(const VisionOptions& options) : VisionEncoderImpl(options) {
  const std::int64_t width = options_.hidden_size;
  auto embeddings = register_module("embeddings", std::make_shared<torch::nn::Module>("embeddings"));
  class_embedding_ = embeddings->register_parameter("class_embedding", torch::empty({1, 1, width}));
  position_embedding_ =
      embeddings->register_parameter("position_embedding", torch::empty({1, options_.num_patches() + 1, width}));
  patch_embedding_ = embeddings->register_module(
      "patch_embedding",
      torch::nn::Conv2d(torch::nn::Conv2dOptions(3, width, options_.patch_size).stride(options_.patch_size)));
  auto encoder = register_module("encoder", std::make_shared<torch::nn::Module>("encoder"));
  auto layers = encoder->register_module("layers", torch::nn::ModuleList());
  for (std::int64_t i = 0; i < options_.num_hidden_layers; ++i) {
    blocks_.emplace_back(options_);
    layers->push_back(blocks_.back());
  }
  register_post_layernorm();

  if (SkipInitialization::active()) return;
  torch::NoGradGuard no_grad;
  torch::nn::init::normal_(class_embedding_, 0.0, options_.initializer_range);
  torch::nn::init::normal_(position_embedding_, 0.0, options_.initializer_range);
  for (auto& module : modules(/*include_self=*/false)) {
    if (auto* linear = module->as<LinearImpl>()) {
      torch::nn::init::normal_(linear->weight, 0.0, options_.initializer_range);
      if (linear->bias.defined()) torch::nn::init::zeros_(linear->bias);
    }
  }
}

at::Tensor EvaVitImpl::position_embedding(std::int64_t height, std::int64_t width) const {
  return interpolate_positions(position_embedding_.squeeze(0), height / options_.patch_size,
                               width / options_.patch_size, GridAlignment::kPixelCentres)
      .unsqueeze(0);
}

at::Tensor EvaVitImpl::encode(const at::Tensor& pixels, bool interpolate, std::vector<at::Tensor>* hidden_states) {
  check_pixels(pixels, interpolate);
  const at::Tensor patches = embed_patches(pixels, patch_embedding_);
  at::Tensor x = torch::cat({class_embedding_.expand({pixels.size(0), 1, options_.hidden_size}), patches}, 1);
  x = x + position_embedding(pixels.size(2), pixels.size(3));
  for (auto& block : blocks_) {
    if (hidden_states != nullptr) hidden_states->push_back(x);
    x = checkpointed({x}, [block](const std::vector<at::Tensor>& inputs) mutable { return block(inputs[0]); });
  }
  if (hidden_states != nullptr) hidden_states->push_back(x);
  return x;
}

}  // namespace blip2
