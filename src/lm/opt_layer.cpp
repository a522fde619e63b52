#include "lm/opt_layer.h"

#include <torch/torch.h>

#include <cmath>

namespace blip2 {

namespace {
constexpr double kEps = 1e-5;  // not configurable in OPT
}

OptLayer::OptLayer(torch::nn::Module& parent, std::size_t index, const OptOptions& options,
                   const WeightOptions& weights)
    : index_(index),
      norm_before_(options.do_layer_norm_before),
      heads_(options.num_attention_heads),
      scale_(1.0 / std::sqrt(static_cast<double>(options.hidden_size / options.num_attention_heads))),
      dropout_(options.dropout),
      attention_dropout_(options.attention_dropout),
      activation_(activation_from_name(options.activation_function)) {
  const std::int64_t width = options.hidden_size;
  const bool affine = options.layer_norm_elementwise_affine;
  auto& layer = add_child(parent, std::to_string(index));
  auto add = [&](torch::nn::Module& owner, const char* part, std::int64_t in, std::int64_t out) {
    return add_linear(owner, part, in, out, options.enable_bias, options.init_std, weights);
  };
  auto& self_attention = add_child(layer, "self_attn");
  key_ = add(self_attention, "k_proj", width, width);
  value_ = add(self_attention, "v_proj", width, width);
  query_ = add(self_attention, "q_proj", width, width);
  out_ = add(self_attention, "out_proj", width, width);
  self_attention_norm_ = add_layer_norm(layer, "self_attn_layer_norm", width, kEps, affine, weights);
  fc1_ = add(layer, "fc1", width, options.ffn_dim);
  fc2_ = add(layer, "fc2", options.ffn_dim, width);
  final_norm_ = add_layer_norm(layer, "final_layer_norm", width, kEps, affine, weights);
}

at::Tensor OptLayer::forward(const at::Tensor& input, const at::Tensor& mask, KeyValueCache* cache,
                             bool training) const {
  at::Tensor x = norm_before_ ? self_attention_norm_(input) : input;
  const auto projected = forward_together(x, {query_.get(), key_.get(), value_.get()});
  const at::Tensor &query = projected[0], &key = projected[1], &value = projected[2];
  const at::Tensor context =
      cache != nullptr
          ? cache->attend(index_, query, {key, value}, mask, scale_)
          : merge_heads(attention(split_heads(query, heads_), {split_heads(key, heads_), split_heads(value, heads_)},
                                  mask, scale_, training ? attention_dropout_ : 0.0));
  x = input + at::dropout(out_->forward(context), dropout_, training);
  if (!norm_before_) x = self_attention_norm_(x);

  const at::Tensor inner = activate(fc1_->forward(norm_before_ ? final_norm_(x) : x), activation_);
  x = x + at::dropout(fc2_->forward(inner), dropout_, training);
  return norm_before_ ? x : final_norm_(x);
}

}  // namespace blip2
