// The Q-Former (paper section 3.1, LAVIS 1.6): a BERT whose input is [queries ; text]. Self-attention is shared; in
// every `cross_attention_frequency`-th layer the queries (never the text) also attend to the image tokens; queries and
// text have a feed-forward each. Post-norm, as BERT. Parameter names below `qformer.` are Hugging Face's.
#pragma once

#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/normalization.h>

#include <memory>
#include <vector>

#include "blip2/nn/attention.h"
#include "blip2/qformer/qformer_layer.h"

namespace blip2 {

/** What one pass reads. Absent parts are undefined tensors or null. */
struct QFormerInput {
  at::Tensor query_embeds;  // [B, Q, H]
  at::Tensor text_embeds;   // [B, T, H] word + position embeddings, before the LayerNorm
  at::Tensor self_mask;     // additive, broadcasts to [B, heads, Q + T, prefix + Q + T]; undefined: all visible
  /** Keys and values of the pictures, one per cross-attention layer (see image_memory); needed with queries. */
  const std::vector<KeyValue>* image_memory = nullptr;
  /** int64 [B]: which row of the memory each sequence looks at; undefined: its own. */
  at::Tensor image_rows;
  /** Self-attention keys and values of an earlier pass, one per layer, that this pass sees in front of its own. */
  const std::vector<KeyValue>* prefix = nullptr;
  /** int64 [B, T], 1 = token: rows of padding are not computed, the output has zeros there. A trace shows all rows. */
  at::Tensor text_mask;
  /** False: the last layer leaves the text out, which others only read. Needs a mask of one row for all. */
  bool text_wanted = true;
};

/** What a pass leaves for inspection: filled only when asked for. */
struct QFormerTrace {
  std::vector<at::Tensor> hidden_states;    // [B, Q + T, H], after the first LayerNorm and after every layer
  std::vector<at::Tensor> self_attention;   // [B, heads, Q + T, prefix + Q + T] per layer
  std::vector<at::Tensor> cross_attention;  // [B, heads, Q, N] per cross-attention layer
};

struct QFormerOutput {
  at::Tensor query;                             // [B, Q, H], undefined without queries
  at::Tensor text;                              // [B, T, H], undefined without text
  std::vector<KeyValue> self_attention_memory;  // per layer, behind the prefix's; none where layers are checkpointed
};

class QFormerImpl : public torch::nn::Module {
 public:
  explicit QFormerImpl(const QFormerOptions& options);

  /** One pass; records the trace when `trace` is not null. Throws (TORCH_CHECK) when shapes do not fit. */
  QFormerOutput forward(const QFormerInput& input, QFormerTrace* trace = nullptr);

  /**
   * Cross-attention keys and values of image tokens [B, N, encoder_hidden_size], one per cross-attention layer.
   * Computed once per picture; contrast, matching (positives and negatives) and generation share them.
   */
  std::vector<KeyValue> image_memory(const at::Tensor& image_tokens);

  /** Copies the text feed-forward of every layer into the query feed-forward (stage-1 initialisation, LAVIS 1.6). */
  void copy_text_feed_forward_to_queries();

  const QFormerOptions& options() const { return options_; }

 private:
  QFormerOptions options_;
  torch::nn::LayerNorm layernorm_{nullptr};
  std::vector<QFormerLayer> layers_;
};
TORCH_MODULE(QFormer);

/** Rows `rows` (int64 [R]) of a memory: which picture each row of a new batch looks at. */
std::vector<KeyValue> select_rows(const std::vector<KeyValue>& memory, const at::Tensor& rows);

}  // namespace blip2
