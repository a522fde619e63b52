// One layer of the Q-Former and its parts: BERT self-attention, cross-attention to the image, two feed-forwards.
#pragma once

#include <torch/nn/modules/normalization.h>
#include "blip2/nn/linear.h"

#include "blip2/core/field_visitor.h"
#include "blip2/nn/activation.h"
#include "blip2/nn/attention.h"
#include "blip2/qformer/row_layout.h"

namespace blip2 {

/** `qformer_config` of a Hugging Face config.json; the defaults are BERT-base on ViT-g. */
struct QFormerOptions {
  std::int64_t vocab_size = 30522;  // 30523 with [DEC], as stage 1 has it
  std::int64_t hidden_size = 768;
  std::int64_t num_hidden_layers = 12;
  std::int64_t num_attention_heads = 12;
  std::int64_t intermediate_size = 3072;
  std::string hidden_act = "gelu";
  double hidden_dropout_prob = 0.1;
  double attention_probs_dropout_prob = 0.1;
  std::int64_t max_position_embeddings = 512;
  double initializer_range = 0.02;
  double layer_norm_eps = 1e-12;
  std::int64_t cross_attention_frequency = 2;
  std::int64_t encoder_hidden_size = 1408;  // always the image encoder's width
  bool use_qformer_text_input = false;      // layers own the text feed-forward
};

void visit_fields(FieldVisitor& visitor, QFormerOptions& options);

/** Throws UserError naming the field that makes no sense. */
void validate(const QFormerOptions& options);

/** Multi-head attention with BERT's output block: LN(x + dropout(dense(context))). */
class BertAttentionImpl : public torch::nn::Module {
 public:
  /** `memory_size`: width of what keys and values are made from. */
  BertAttentionImpl(const QFormerOptions& options, std::int64_t memory_size);

  /** Keys and values of x [B, S, memory_size]. */
  KeyValue memory(const at::Tensor& x);
  /** The same of packed rows [N, memory_size]; keys and values of padding are zeros. */
  KeyValue memory(const at::Tensor& rows, const RowLayout& layout);
  /** Rows [N, H] attend to `memory`; the probabilities go to `probabilities` when it is not null. */
  at::Tensor forward(const at::Tensor& rows, const RowLayout& layout, const KeyValue& memory, const at::Tensor& mask,
                     at::Tensor* probabilities = nullptr);

 private:
  std::int64_t heads_;
  double attention_dropout_, dropout_;
  Linear query_{nullptr}, key_{nullptr}, value_{nullptr}, dense_{nullptr};
  torch::nn::LayerNorm norm_{nullptr};
};
TORCH_MODULE(BertAttention);

/** BERT's feed-forward, LN(x + dropout(W2 act(W1 x))), registered by its owner under two names (see QFormerLayer). */
struct FeedForward {
  Linear expand{nullptr}, contract{nullptr};
  torch::nn::LayerNorm norm{nullptr};
};

class QFormerLayerImpl : public torch::nn::Module {
 public:
  QFormerLayerImpl(const QFormerOptions& options, bool has_cross_attention);

  /** Cross-attention keys and values of image tokens [B, N, D]; only layers with cross-attention. */
  KeyValue image_memory(const at::Tensor& image_tokens) { return crossattention_->memory(image_tokens); }
  /** Self-attention keys and values of packed rows [N, H]. */
  KeyValue self_memory(const at::Tensor& rows, const RowLayout& layout) { return attention_->memory(rows, layout); }

  /** Packed rows [N, H] -> the same; `image` is null in layers without cross-attention. */
  at::Tensor forward(const at::Tensor& rows, const RowLayout& layout, const KeyValue& self, const at::Tensor& self_mask,
                     const KeyValue* image, at::Tensor* self_probabilities, at::Tensor* cross_probabilities);

  bool has_cross_attention() const { return !crossattention_.is_empty(); }
  void copy_text_feed_forward_to_queries();

 private:
  FeedForward register_feed_forward(const QFormerOptions& options, const std::string& suffix);
  at::Tensor feed_forward(FeedForward& part, const at::Tensor& x);

  Activation activation_;
  BertAttention attention_{nullptr}, crossattention_{nullptr};
  FeedForward query_feed_forward_, text_feed_forward_;
  double dropout_;
};
TORCH_MODULE(QFormerLayer);

}  // namespace blip2
