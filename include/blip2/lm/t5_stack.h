// The encoder and the decoder of T5 are one kind of stack; the decoder's blocks have cross-attention and a causal bias.
#pragma once

#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>

#include <vector>

#include "blip2/lm/kv_cache.h"
#include "blip2/lm/t5_options.h"

namespace blip2 {

/** w * x / sqrt(mean(x^2) + eps), in float32. */
class T5LayerNormImpl : public torch::nn::Module {
 public:
  T5LayerNormImpl(std::int64_t width, double epsilon);
  at::Tensor forward(const at::Tensor& x);

 private:
  at::Tensor weight_;
  double epsilon_;
};
TORCH_MODULE(T5LayerNorm);

/** Unscaled multi-head attention without biases; only a stack's first self-attention owns the relative bias. */
class T5AttentionImpl : public torch::nn::Module {
 public:
  T5AttentionImpl(const T5Options& options, bool has_relative_bias, bool bidirectional);
  KeyValue memory(const at::Tensor& x);
  at::Tensor forward(const at::Tensor& x, const KeyValue& memory, const at::Tensor& bias, double dropout);
  /** [1, heads, rows, length]: queries are the last `rows` of `length` positions. */
  at::Tensor relative_bias(std::int64_t rows, std::int64_t length) const;

 private:
  T5Options options_;
  bool bidirectional_;
  torch::nn::Linear q_{nullptr}, k_{nullptr}, v_{nullptr}, o_{nullptr};
  torch::nn::Embedding relative_attention_bias_{nullptr};
};
TORCH_MODULE(T5Attention);

class T5BlockImpl : public torch::nn::Module {
 public:
  T5BlockImpl(const T5Options& options, bool is_decoder, bool has_relative_bias);

  struct Input {
    const at::Tensor& x;          // [B, T, d_model]
    const at::Tensor& self_bias;  // relative bias plus mask
    KvCache* cache = nullptr;     // decoder: earlier keys and values, layer `index`
    std::size_t index = 0;
    const KeyValue* encoder = nullptr;  // decoder: keys and values of the encoder's output
    const at::Tensor* encoder_mask = nullptr;
  };
  at::Tensor forward(const Input& input);

  T5Attention self_attention{nullptr}, cross_attention{nullptr};

 private:
  at::Tensor drop(const at::Tensor& x) const;

  bool gated_;
  double dropout_;
  Activation activation_;
  T5LayerNorm self_norm_{nullptr}, cross_norm_{nullptr}, feed_forward_norm_{nullptr};
  torch::nn::Linear wi_0_{nullptr}, wi_1_{nullptr}, wo_{nullptr};
};
TORCH_MODULE(T5Block);

class T5StackImpl : public torch::nn::Module {
 public:
  T5StackImpl(const T5Options& options, bool is_decoder);

  /** Encoder: embeds [B, T, d_model] with padding mask [B, T]. */
  at::Tensor encode(const at::Tensor& embeds, const at::Tensor& mask, std::vector<at::Tensor>* hidden_states);

  /** Decoder: keys and values of the encoder's output, one per block; `encoder_mask` additive [B, 1, 1, T]. */
  std::vector<KeyValue> cross_memory(const at::Tensor& encoder_output);
  at::Tensor decode(const at::Tensor& embeds, KvCache& cache, const std::vector<KeyValue>& cross_memory,
                    const at::Tensor& encoder_mask, std::vector<at::Tensor>* hidden_states);

 private:
  T5Options options_;
  std::vector<T5Block> blocks_;
  T5LayerNorm final_layer_norm_{nullptr};
};
TORCH_MODULE(T5Stack);

}  // namespace blip2
