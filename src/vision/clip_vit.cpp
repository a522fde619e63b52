#include "blip2/vision/clip_vit.h"

#include <torch/torch.h>

#include "blip2/nn/activation_checkpointing.h"
#include "blip2/nn/attention.h"
#include "blip2/vision/patch_embedding.h"

namespace blip2 {

ClipBlockImpl::ClipBlockImpl(const VisionOptions& options)
    : heads_(options.num_attention_heads), activation_(activation_from_name(options.hidden_act)) {
  const std::int64_t width = options.hidden_size;
  const auto norm = torch::nn::LayerNormOptions({width}).eps(options.layer_norm_eps);
  auto self_attn = register_module("self_attn", std::make_shared<torch::nn::Module>("self_attn"));
  k_proj_ = self_attn->register_module("k_proj", Linear(width, width));
  v_proj_ = self_attn->register_module("v_proj", Linear(width, width));
  q_proj_ = self_attn->register_module("q_proj", Linear(width, width));
  out_proj_ = self_attn->register_module("out_proj", Linear(width, width));
  layer_norm1_ = register_module("layer_norm1", torch::nn::LayerNorm(norm));
  auto mlp = register_module("mlp", std::make_shared<torch::nn::Module>("mlp"));
  fc1_ = mlp->register_module("fc1", Linear(width, options.intermediate_size));
  fc2_ = mlp->register_module("fc2", Linear(options.intermediate_size, width));
  layer_norm2_ = register_module("layer_norm2", torch::nn::LayerNorm(norm));
}

at::Tensor ClipBlockImpl::forward(const at::Tensor& x) {
  const at::Tensor normed = layer_norm1_(x);
  const KeyValue memory{split_heads(k_proj_(normed), heads_), split_heads(v_proj_(normed), heads_)};
  const double scale = 1.0 / std::sqrt(static_cast<double>(x.size(2) / heads_));
  const at::Tensor context = attention(split_heads(q_proj_(normed), heads_), memory, {}, scale);
  const at::Tensor attended = x + out_proj_(merge_heads(context));
  return attended + fc2_(activate(fc1_(layer_norm2_(attended)), activation_));
}

ClipVitImpl::ClipVitImpl(const VisionOptions& options) : VisionEncoderImpl(options) {
  const std::int64_t width = options_.hidden_size;
  auto embeddings = register_module("embeddings", std::make_shared<torch::nn::Module>("embeddings"));
  class_embedding_ = embeddings->register_parameter("class_embedding", torch::empty({width}));
  patch_embedding_ = embeddings->register_module(
      "patch_embedding",
      torch::nn::Conv2d(
          torch::nn::Conv2dOptions(3, width, options_.patch_size).stride(options_.patch_size).bias(false)));
  position_embedding_ =
      embeddings->register_module("position_embedding", torch::nn::Embedding(options_.num_patches() + 1, width));
  pre_layernorm_ = register_module(
      "pre_layrnorm", torch::nn::LayerNorm(torch::nn::LayerNormOptions({width}).eps(options_.layer_norm_eps)));
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
  torch::nn::init::normal_(position_embedding_->weight, 0.0, options_.initializer_range);
}

at::Tensor ClipVitImpl::encode(const at::Tensor& pixels, bool interpolate, std::vector<at::Tensor>* hidden_states) {
  check_pixels(pixels, interpolate);
  const at::Tensor patches = embed_patches(pixels, patch_embedding_);
  at::Tensor x = torch::cat({class_embedding_.expand({pixels.size(0), 1, options_.hidden_size}), patches}, 1);
  x = x + interpolate_positions(position_embedding_->weight, pixels.size(2) / options_.patch_size,
                                pixels.size(3) / options_.patch_size, GridAlignment::kCorners);
  x = pre_layernorm_(x);
  for (auto& block : blocks_) {
    if (hidden_states != nullptr) hidden_states->push_back(x);
    x = checkpointed({x}, [block](const std::vector<at::Tensor>& inputs) mutable { return block(inputs[0]); });
  }
  if (hidden_states != nullptr) hidden_states->push_back(x);
  return x;
}

}  // namespace blip2
