#include "lm/t5_block.h"

#include <torch/torch.h>

#include <cmath>

namespace blip2 {
namespace {

/** Deviation of fresh weights that read `width` numbers. */
double deviation(const T5Options& options, std::int64_t width) {
  return options.initializer_factor / std::sqrt(static_cast<double>(width));
}

at::Tensor drop(const at::Tensor& x, double probability) {
  return probability > 0 ? at::dropout(x, probability, /*train=*/true) : x;
}

}  // namespace

T5Attention::T5Attention(torch::nn::Module& parent, const std::string& name, const T5Options& options,
                         const WeightOptions& weights)
    : heads_(options.num_heads) {
  const std::int64_t width = options.d_model, inner = options.num_heads * options.d_kv;
  auto& own = add_child(parent, name);
  // Queries start small by another sqrt(d_kv), in place of a scale in the scores.
  query_ = add_linear(own, "q", width, inner, false, deviation(options, width * options.d_kv), weights);
  key_ = add_linear(own, "k", width, inner, false, deviation(options, width), weights);
  value_ = add_linear(own, "v", width, inner, false, deviation(options, width), weights);
  out_ = add_linear(own, "o", inner, width, false, deviation(options, inner), weights);
}

KeyValue T5Attention::memory(const at::Tensor& x) const {
  return {split_heads(key_->forward(x), heads_), split_heads(value_->forward(x), heads_)};
}

at::Tensor T5Attention::to_itself(const at::Tensor& x, KeyValueCache* cache, std::size_t index, const at::Tensor& mask,
                                  double dropout) const {
  const auto projected = forward_together(x, {query_.get(), key_.get(), value_.get()});
  const at::Tensor &query = projected[0], &key = projected[1], &value = projected[2];
  if (cache != nullptr) return out_->forward(cache->attend(index, query, {key, value}, mask, 1.0));
  const KeyValue memory{split_heads(key, heads_), split_heads(value, heads_)};
  return out_->forward(merge_heads(attention(split_heads(query, heads_), memory, mask, 1.0, dropout)));
}

at::Tensor T5Attention::operator()(const at::Tensor& x, const KeyValue& memory, const at::Tensor& mask, double dropout,
                                   std::int64_t readers) const {
  const at::Tensor query = split_heads(query_->forward(x), heads_);
  if (readers == 1) return out_->forward(merge_heads(attention(query, memory, mask, 1.0, dropout)));
  // Beams of one prompt are further queries to the same memory: [B, readers, heads, T, d] -> [B, heads, readers * T,
  // d].
  const std::int64_t rows = query.size(0) / readers, length = query.size(2), width = query.size(3);
  const at::Tensor together =
      query.view({rows, readers, heads_, length, width}).transpose(1, 2).reshape({rows, heads_, -1, width});
  const at::Tensor context = attention(together, memory, mask, 1.0, dropout);
  const at::Tensor apart = context.reshape({rows, heads_, readers, length, width}).transpose(1, 2);
  return out_->forward(merge_heads(apart.reshape({rows * readers, heads_, length, width})));
}

T5Block::T5Block(torch::nn::Module& parent, std::size_t index, const T5Options& options, bool is_decoder,
                 const WeightOptions& weights)
    : index_(index), activation_(activation_from_name(options.dense_act_fn)) {
  const std::int64_t width = options.d_model;
  auto& layers = add_child(add_child(parent, std::to_string(index)), "layer");
  int count = 0;
  auto next = [&]() -> torch::nn::Module& { return add_child(layers, std::to_string(count++)); };
  auto add_norm = [&](torch::nn::Module& layer) {
    RmsNorm norm =
        add_rms_norm(layer, "layer_norm", width, options.layer_norm_epsilon, options.initializer_factor, weights);
    norm.float32_variance = options.float32_variance;
    return norm;
  };
  auto& self_layer = next();
  self_attention_ = T5Attention(self_layer, "SelfAttention", options, weights);
  self_attention_norm_ = add_norm(self_layer);
  if (is_decoder) {
    auto& cross_layer = next();
    cross_attention_ = T5Attention(cross_layer, "EncDecAttention", options, weights);
    cross_attention_norm_ = add_norm(cross_layer);
  }
  auto& last_layer = next();
  auto& dense = add_child(last_layer, "DenseReluDense");
  auto add = [&](const char* part, std::int64_t in, std::int64_t out) {
    return add_linear(dense, part, in, out, false, deviation(options, in), weights);
  };
  if (options.is_gated_act) {
    gate_ = add("wi_0", width, options.d_ff);
    inner_ = add("wi_1", width, options.d_ff);
  } else {
    inner_ = add("wi", width, options.d_ff);
  }
  outer_ = add("wo", options.d_ff, width);
  feed_forward_norm_ = add_norm(last_layer);
}

at::Tensor T5Block::feed_forward(const at::Tensor& x, double dropout) const {
  if (gate_.is_empty()) return outer_->forward(drop(activate(inner_->forward(x), activation_), dropout));
  const auto both = forward_together(x, {gate_.get(), inner_.get()});
  return outer_->forward(drop(activate(both[0], activation_) * both[1], dropout));
}

at::Tensor T5Block::forward(const at::Tensor& input, const T5BlockInput& with) const {
  at::Tensor normed = self_attention_norm_(input);
  at::Tensor x =
      input + drop(self_attention_.to_itself(normed, with.cache, index_, with.self_mask, with.dropout), with.dropout);
  if (with.memory != nullptr) {
    normed = cross_attention_norm_(x);
    x = x + drop(cross_attention_(normed, *with.memory, with.memory_mask, with.dropout, with.readers_of_each),
                 with.dropout);
  }
  return x + drop(feed_forward(feed_forward_norm_(x), with.dropout), with.dropout);
}

}  // namespace blip2
