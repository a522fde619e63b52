// The text side of the Q-Former outside its layers: what words look like going in (embeddings) and coming out (ITG
// head).
#pragma once

#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/normalization.h>

#include <utility>

#include "blip2/models/text_tokens.h"
#include "blip2/nn/linear.h"
#include "blip2/qformer/qformer_layer.h"

namespace blip2 {

/** Word plus position embeddings, without LayerNorm (the Q-Former's own comes next) and without token types. */
class TextEmbeddingsImpl : public torch::nn::Module {
 public:
  explicit TextEmbeddingsImpl(const QFormerOptions& options);

  /** ids int64 [B, T] -> [B, T, H]; positions count from 0, queries take none. Throws when T exceeds the table. */
  at::Tensor forward(const at::Tensor& ids);

  /**
   * The same, and once more with the word `start_id` in the first place, as text to generate begins: two [B, T, H] by
   * one look-up, whose gradient is as large as the table.
   */
  std::pair<at::Tensor, at::Tensor> with_start(const at::Tensor& ids, std::int64_t start_id);

  torch::nn::Embedding word_embeddings{nullptr}, position_embeddings{nullptr};

 private:
  at::Tensor positions(std::int64_t length) const;
};
TORCH_MODULE(TextEmbeddings);

/** BERT's language-modelling head; its decoder is the word embedding itself (tied), plus a bias of its own. */
class ItgHeadImpl : public torch::nn::Module {
 public:
  explicit ItgHeadImpl(const QFormerOptions& options);

  /** hidden [..., H] -> logits [..., V] with `word_embeddings` [V, H]. */
  at::Tensor forward(const at::Tensor& hidden, const at::Tensor& word_embeddings);

 private:
  Activation activation_;
  Linear dense_{nullptr};
  torch::nn::LayerNorm norm_{nullptr};
  at::Tensor bias_;
};
TORCH_MODULE(ItgHead);

}  // namespace blip2
