#include "blip2/lm/t5_stack.h"

#include <torch/torch.h>

namespace blip2 {
namespace {

torch::nn::Linear bare_linear(std::int64_t in, std::int64_t out) {
  return torch::nn::Linear(torch::nn::LinearOptions(in, out).bias(false));
}

/** Bucket of each relative position key - query (Hugging Face 3.6); logarithms in float32, as the reference. */
at::Tensor relative_bucket(const at::Tensor& relative, bool bidirectional, std::int64_t buckets,
                           std::int64_t max_distance) {
  const std::int64_t count = bidirectional ? buckets / 2 : buckets, exact = count / 2;
  const at::Tensor base = bidirectional ? relative.gt(0).to(torch::kLong) * count : torch::zeros_like(relative);
  const at::Tensor distance = bidirectional ? relative.abs() : (-relative).clamp_min(0);
  const double range = std::log(static_cast<double>(max_distance) / static_cast<double>(exact));
  const at::Tensor logarithmic =
      ((distance.to(torch::kFloat) / static_cast<double>(exact)).log() / range * static_cast<double>(count - exact))
          .clamp_min(0)
          .to(torch::kLong);
  const at::Tensor far = (logarithmic + exact).clamp_max(count - 1);
  return base + torch::where(distance < exact, distance, far);
}

}  // namespace

T5LayerNormImpl::T5LayerNormImpl(std::int64_t width, double epsilon) : epsilon_(epsilon) {
  weight_ = register_parameter("weight", torch::ones({width}));
}

at::Tensor T5LayerNormImpl::forward(const at::Tensor& x) {
  const auto precise = x.scalar_type() == torch::kDouble ? torch::kDouble : torch::kFloat;
  const at::Tensor wide = x.to(precise);
  const at::Tensor normed = wide * torch::rsqrt(wide.square().mean(-1, true) + epsilon_);
  return weight_ * normed.to(weight_.scalar_type());
}

T5AttentionImpl::T5AttentionImpl(const T5Options& options, bool has_relative_bias, bool bidirectional)
    : options_(options), bidirectional_(bidirectional) {
  const std::int64_t inner = options.num_heads * options.d_kv;
  q_ = register_module("q", bare_linear(options.d_model, inner));
  k_ = register_module("k", bare_linear(options.d_model, inner));
  v_ = register_module("v", bare_linear(options.d_model, inner));
  o_ = register_module("o", bare_linear(inner, options.d_model));
  if (has_relative_bias) {
    relative_attention_bias_ = register_module(
        "relative_attention_bias", torch::nn::Embedding(options.relative_attention_num_buckets, options.num_heads));
  }
}

KeyValue T5AttentionImpl::memory(const at::Tensor& x) {
  return {split_heads(k_(x), options_.num_heads), split_heads(v_(x), options_.num_heads)};
}

at::Tensor T5AttentionImpl::forward(const at::Tensor& x, const KeyValue& memory, const at::Tensor& bias,
                                    double dropout) {
  return o_(merge_heads(attention(split_heads(q_(x), options_.num_heads), memory, bias, /*scale=*/1.0, dropout)));
}

at::Tensor T5AttentionImpl::relative_bias(std::int64_t rows, std::int64_t length) const {
  const auto options = relative_attention_bias_->weight.options().dtype(torch::kLong);
  const at::Tensor relative =
      torch::arange(length, options).view({1, -1}) - torch::arange(length - rows, length, options).view({-1, 1});
  const at::Tensor bucket = relative_bucket(relative, bidirectional_, options_.relative_attention_num_buckets,
                                            options_.relative_attention_max_distance);
  return torch::embedding(relative_attention_bias_->weight, bucket).permute({2, 0, 1}).unsqueeze(0);
}

T5BlockImpl::T5BlockImpl(const T5Options& options, bool is_decoder, bool has_relative_bias)
    : gated_(options.is_gated()), dropout_(options.dropout_rate), activation_(options.activation()) {
  auto layers = register_module("layer", torch::nn::ModuleList());
  auto add_layer = [&](const char* name) {
    auto layer = std::make_shared<torch::nn::Module>(name);
    layers->push_back(layer);
    return layer;
  };
  auto add_norm = [&](torch::nn::Module& layer) {
    return layer.register_module("layer_norm", T5LayerNorm(options.d_model, options.layer_norm_epsilon));
  };
  auto first = add_layer("self");
  self_attention = first->register_module("SelfAttention", T5Attention(options, has_relative_bias, !is_decoder));
  self_norm_ = add_norm(*first);
  if (is_decoder) {
    auto second = add_layer("cross");
    cross_attention = second->register_module("EncDecAttention", T5Attention(options, false, false));
    cross_norm_ = add_norm(*second);
  }
  auto last = add_layer("feed_forward");
  auto dense = last->register_module("DenseReluDense", std::make_shared<torch::nn::Module>("dense"));
  wi_0_ = dense->register_module(gated_ ? "wi_0" : "wi", bare_linear(options.d_model, options.d_ff));
  if (gated_) wi_1_ = dense->register_module("wi_1", bare_linear(options.d_model, options.d_ff));
  wo_ = dense->register_module("wo", bare_linear(options.d_ff, options.d_model));
  feed_forward_norm_ = add_norm(*last);
}

at::Tensor T5BlockImpl::drop(const at::Tensor& x) const {
  return torch::dropout(x, dropout_, is_training());
}

at::Tensor T5BlockImpl::forward(const Input& input) {
  const double dropout = is_training() ? dropout_ : 0.0;
  const at::Tensor normed = self_norm_(input.x);
  KeyValue memory = self_attention->memory(normed);
  if (input.cache != nullptr) memory = input.cache->append(input.index, memory);
  at::Tensor x = input.x + drop(self_attention->forward(normed, memory, input.self_bias, dropout));
  if (input.encoder != nullptr) {
    x = x + drop(cross_attention->forward(cross_norm_(x), *input.encoder, *input.encoder_mask, dropout));
  }
  const at::Tensor inner = feed_forward_norm_(x);
  at::Tensor hidden = activate(wi_0_(inner), activation_);
  if (gated_) hidden = hidden * wi_1_(inner);
  return x + drop(wo_(drop(hidden)));
}

T5StackImpl::T5StackImpl(const T5Options& options, bool is_decoder) : options_(options) {
  auto list = register_module("block", torch::nn::ModuleList());
  const std::int64_t layers = is_decoder ? options.decoder_layers() : options.num_layers;
  for (std::int64_t i = 0; i < layers; ++i) {
    blocks_.emplace_back(options, is_decoder, /*has_relative_bias=*/i == 0);
    list->push_back(blocks_.back());
  }
  final_layer_norm_ = register_module("final_layer_norm", T5LayerNorm(options.d_model, options.layer_norm_epsilon));
}

at::Tensor T5StackImpl::encode(const at::Tensor& embeds, const at::Tensor& mask,
                               std::vector<at::Tensor>* hidden_states) {
  const std::int64_t length = embeds.size(1);
  at::Tensor x = torch::dropout(embeds, options_.dropout_rate, is_training());
  const at::Tensor bias = blocks_.front()->self_attention->relative_bias(length, length) +
                          additive_mask(mask.view({mask.size(0), 1, 1, length}), x.scalar_type());
  for (auto& block : blocks_) {
    if (hidden_states != nullptr) hidden_states->push_back(x);
    x = block->forward({.x = x, .self_bias = bias});
  }
  x = torch::dropout(final_layer_norm_(x), options_.dropout_rate, is_training());
  if (hidden_states != nullptr) hidden_states->push_back(x);
  return x;
}

std::vector<KeyValue> T5StackImpl::cross_memory(const at::Tensor& encoder_output) {
  std::vector<KeyValue> memory;
  for (auto& block : blocks_) memory.push_back(block->cross_attention->memory(encoder_output));
  return memory;
}

at::Tensor T5StackImpl::decode(const at::Tensor& embeds, KvCache& cache, const std::vector<KeyValue>& cross_memory,
                               const at::Tensor& encoder_mask, std::vector<at::Tensor>* hidden_states) {
  const std::int64_t rows = embeds.size(1), length = cache.length() + rows;
  at::Tensor x = torch::dropout(embeds, options_.dropout_rate, is_training());
  const auto options = embeds.options().dtype(torch::kBool);
  const at::Tensor earlier = torch::ones({rows, length}, options).tril(length - rows);
  const at::Tensor bias =
      blocks_.front()->self_attention->relative_bias(rows, length) + additive_mask(earlier, x.scalar_type());
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    if (hidden_states != nullptr) hidden_states->push_back(x);
    x = blocks_[i]->forward({.x = x,
                             .self_bias = bias,
                             .cache = &cache,
                             .index = i,
                             .encoder = &cross_memory[i],
                             .encoder_mask = &encoder_mask});
  }
  x = torch::dropout(final_layer_norm_(x), options_.dropout_rate, is_training());
  if (hidden_states != nullptr) hidden_states->push_back(x);
  return x;
}

}  // namespace blip2
