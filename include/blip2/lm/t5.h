// FlanT5 (Hugging Face 3.6): encoder and decoder with RMS norms, no biases, unscaled attention and a relative-position
// bias that the first block of each stack owns and all blocks share. The prompt goes to the encoder, the answer to the
// decoder. Parameter names below `language_model.` are Hugging Face's.
#pragma once

#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "blip2/core/field_visitor.h"
#include "blip2/lm/language_model.h"
#include "blip2/lm/t5_stack.h"

namespace blip2 {

class T5LanguageModelImpl : public torch::nn::Module, public LanguageModel {
 public:
  explicit T5LanguageModelImpl(const T5Options& options);

  std::int64_t width() const override { return options_.d_model; }
  at::Tensor embed(const at::Tensor& ids) override { return shared_(ids); }
  at::Tensor loss(const Prompt& prompt, const at::Tensor& labels) override;
  std::pair<std::unique_ptr<DecodingState>, at::Tensor> begin(const Prompt& prompt) override;
  at::Tensor step(DecodingState& state, const at::Tensor& ids) override;
  SpecialIds special_ids() const override;
  bool is_encoder_decoder() const override { return true; }
  std::int64_t max_positions() const override { return -1; }
  torch::nn::Module& module() override { return *this; }

  /** Encoder output [B, T, d_model] of a prompt. */
  at::Tensor encode(const Prompt& prompt, std::vector<at::Tensor>* hidden_states = nullptr);
  /** Teacher-forced logits [B, L, V] for labels int64 [B, L] (-100 allowed: fed as padding). */
  at::Tensor logits(const Prompt& prompt, const at::Tensor& labels, std::vector<at::Tensor>* encoder_states = nullptr,
                    std::vector<at::Tensor>* decoder_states = nullptr);
  const T5Options& options() const { return options_; }

 private:
  at::Tensor decode_labels(const Prompt& prompt, const at::Tensor& labels, std::vector<at::Tensor>* encoder_states,
                           std::vector<at::Tensor>* decoder_states);
  at::Tensor head(const at::Tensor& hidden);

  T5Options options_;
  torch::nn::Embedding shared_{nullptr};
  T5Stack encoder_{nullptr}, decoder_{nullptr};
  torch::nn::Linear lm_head_{nullptr};  // empty when tied to the embedding
};
TORCH_MODULE(T5LanguageModel);

}  // namespace blip2
