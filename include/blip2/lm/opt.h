// OPT (Hugging Face spec 1.4, 2.3, 3.5): a decoder-only transformer with learned positions that start at row 2 of their
// table. Parameter names below `language_model.` are Hugging Face's; the tied head is no parameter of its own.
// Positions count the tokens that are read, so that padding on any side changes nothing.
#pragma once

#include <torch/nn/module.h>

#include <optional>
#include <string>
#include <vector>

#include "blip2/core/field_visitor.h"
#include "blip2/lm/kv_cache.h"
#include "blip2/lm/language_model.h"
#include "blip2/nn/linear.h"

namespace blip2 {

class OptLayer;
struct LayerNorm;

/** `text_config` of a Hugging Face config.json with model_type "opt"; the defaults are the class's, OPT-125m. */
struct OptOptions {
  std::int64_t vocab_size = 50272;  // 50304 in BLIP-2
  std::int64_t hidden_size = 768;
  std::int64_t num_hidden_layers = 12;
  std::int64_t ffn_dim = 3072;
  std::int64_t max_position_embeddings = 2048;      // the table has two rows more
  bool do_layer_norm_before = true;                 // false in OPT-350m: norms after the sums
  bool remove_final_layer_norm = false;             // `_remove_final_layer_norm`
  std::optional<std::int64_t> word_embed_proj_dim;  // width of the embeddings; null: hidden_size
  double dropout = 0.1;                             // of both branches, in training mode
  double attention_dropout = 0.0;
  double init_std = 0.02;
  std::int64_t num_attention_heads = 12;
  std::string activation_function = "relu";
  std::int64_t pad_token_id = 1;
  std::int64_t bos_token_id = 2;
  std::int64_t eos_token_id = 2;  // 50118, the newline, in BLIP-2
  bool enable_bias = true;
  bool layer_norm_elementwise_affine = true;
  bool tie_word_embeddings = true;

  /** Width of a row of the token table. */
  std::int64_t embedding_width() const { return word_embed_proj_dim.value_or(hidden_size); }
};

void visit_fields(FieldVisitor& visitor, OptOptions& options);

/** Throws UserError naming the field that makes no sense. */
void validate(const OptOptions& options);

/** The published sizes (spec 1.4) with the vocabulary, newline as end and head of BLIP-2 where BLIP-2 uses them. */
OptOptions opt_125m_options();
OptOptions opt_350m_options();
OptOptions opt_1_3b_options();
OptOptions opt_2_7b_options();
OptOptions opt_6_7b_options();

class OptLanguageModelImpl : public torch::nn::Module, public LanguageModel {
 public:
  /** Weights are normal(0, init_std), biases zero. Throws UserError when the options make no sense. */
  explicit OptLanguageModelImpl(const OptOptions& options, const WeightOptions& weights = {});
  ~OptLanguageModelImpl() override;

  /**
   * Logits [B, T, vocab_size] of every row of a prompt, in the model's dtype; rows of padding mean nothing. Appends to
   * `hidden_states`, when it is not null, [B, T, hidden_size] before the first layer and after each, the last one after
   * the final norm. Differentiable. Throws (TORCH_CHECK) for wrong shapes, UserError beyond the last position.
   */
  at::Tensor logits(const Prompt& prompt, std::vector<at::Tensor>* hidden_states = nullptr);

  std::int64_t width() const override { return options_.hidden_size; }
  /** [B, T, hidden_size], through `project_in` where the table is narrower: image tokens have the hidden size too. */
  at::Tensor embed(const at::Tensor& ids) override;
  /** As the interface says; a batch without a single label has loss 0. */
  at::Tensor loss(const Prompt& prompt, const at::Tensor& labels) override;
  std::pair<std::unique_ptr<DecodingState>, at::Tensor> begin(const Prompt& prompt) override;
  at::Tensor step(DecodingState& state, const at::Tensor& ids) override;
  SpecialIds special_ids() const override {
    return {options_.pad_token_id, options_.bos_token_id, options_.eos_token_id, -1};
  }
  bool is_encoder_decoder() const override { return false; }
  std::int64_t max_positions() const override { return options_.max_position_embeddings; }
  torch::nn::Module& module() override { return *this; }

  const OptOptions& options() const { return options_; }

 private:
  at::Tensor read(const Prompt& prompt, KeyValueCache* cache, std::vector<at::Tensor>* hidden_states);
  at::Tensor decode(const at::Tensor& embeds, const at::Tensor& position_rows, const at::Tensor& mask,
                    KeyValueCache* cache, std::vector<at::Tensor>* hidden_states);
  at::Tensor head(const at::Tensor& hidden) const;
  /** What is computed in; matrices may be kept narrower (nn/linear.h). */
  at::ScalarType dtype() const { return embed_positions_.scalar_type(); }
  void check_positions(std::int64_t needed) const;

  OptOptions options_;
  at::Tensor embed_tokens_, embed_positions_, head_weight_;
  Linear project_in_{nullptr}, project_out_{nullptr};  // empty where the embeddings have the hidden size
  std::vector<OptLayer> layers_;
  std::unique_ptr<LayerNorm> final_norm_;  // null where the model has none
};
TORCH_MODULE(OptLanguageModel);

}  // namespace blip2
