// One block of T5 (Hugging Face spec 3.6): self-attention, in the decoder attention to the encoder's output, and a
// feed-forward, each x + part(RMSNorm(x)), without any bias.
#pragma once

#include "blip2/lm/kv_cache.h"
#include "blip2/lm/t5.h"
#include "blip2/nn/activation.h"
#include "lm/layers.h"

namespace blip2 {

/** What the decoder knows of the encoder's output, one entry per decoder layer. */
struct T5Memory {
  std::vector<KeyValue> layers;      // [B, heads, T, d_kv]
  at::Tensor mask;                   // additive [B, 1, 1, T]; undefined without padding
  std::int64_t readers_of_each = 1;  // the decoder has this many rows for each row of the memory, side by side
};

/** What a block reads beside its input. */
struct T5BlockInput {
  at::Tensor self_mask;              // additive [1 or R, heads, T, S]: relative positions and what is hidden
  KeyValueCache* cache = nullptr;    // of self-attention, while decoding: it then has no dropout
  const KeyValue* memory = nullptr;  // of the encoder's output, in the decoder
  at::Tensor memory_mask;
  std::int64_t readers_of_each = 1;
  double dropout = 0;  // 0 outside training
};

/** Projections of one attention; the scores are not scaled. */
class T5Attention {
 public:
  T5Attention() = default;
  T5Attention(torch::nn::Module& parent, const std::string& name, const T5Options& options,
              const WeightOptions& weights);

  KeyValue memory(const at::Tensor& x) const;
  /** Attention of x [R, T, d_model] to itself, or to all that the cache has of block `index`. */
  at::Tensor to_itself(const at::Tensor& x, KeyValueCache* cache, std::size_t index, const at::Tensor& mask,
                       double dropout) const;
  /** x [R, T, d_model]; row r reads row r / readers of the memory. */
  at::Tensor operator()(const at::Tensor& x, const KeyValue& memory, const at::Tensor& mask, double dropout,
                        std::int64_t readers = 1) const;

 private:
  std::int64_t heads_ = 0;
  Linear query_{nullptr}, key_{nullptr}, value_{nullptr}, out_{nullptr};
};

class T5Block {
 public:
  /** Registers the weights of block `index` below `parent`. */
  T5Block(torch::nn::Module& parent, std::size_t index, const T5Options& options, bool is_decoder,
          const WeightOptions& weights);

  /** [R, T, d_model] -> the same shape. */
  at::Tensor forward(const at::Tensor& input, const T5BlockInput& with) const;

  /** Keys and values of the encoder's output [B, T, d_model] for this block of a decoder. */
  KeyValue memory(const at::Tensor& encoded) const { return cross_attention_.memory(encoded); }

 private:
  at::Tensor feed_forward(const at::Tensor& x, double dropout) const;

  std::size_t index_;
  Activation activation_;
  T5Attention self_attention_, cross_attention_;
  Linear gate_{nullptr}, inner_{nullptr}, outer_{nullptr};  // the gate is undefined in T5 v1.0
  RmsNorm self_attention_norm_, cross_attention_norm_, feed_forward_norm_;
};

}  // namespace blip2
