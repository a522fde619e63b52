// OPT (Hugging Face 3.5): a pre-norm decoder with learned positions that starts at row 2 of its table and skips
// padding. Parameter names below `language_model.` are Hugging Face's; the head is the token embedding and has no name
// of its own.
#pragma once

#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include <optional>
#include <string>
#include <vector>

#include "blip2/core/field_visitor.h"
#include "blip2/lm/kv_cache.h"
#include "blip2/lm/language_model.h"
#include "blip2/nn/activation.h"

namespace blip2 {

/** `text_config` of a Hugging Face config.json with model_type "opt"; the defaults are the class's. */
struct OptOptions {
  std::int64_t vocab_size = 50272;
  std::int64_t hidden_size = 768;
  std::int64_t num_hidden_layers = 12;
  std::int64_t ffn_dim = 3072;
  std::int64_t num_attention_heads = 12;
  std::int64_t max_position_embeddings = 2048;      // the table has two rows more
  bool do_layer_norm_before = true;                 // false: opt-350m, norms after the sums
  bool remove_final_layer_norm = false;             // `_remove_final_layer_norm`
  std::optional<std::int64_t> word_embed_proj_dim;  // width of the embedding; null: hidden_size
  double dropout = 0.1;
  double attention_dropout = 0.0;
  std::string activation_function = "relu";
  bool enable_bias = true;
  bool layer_norm_elementwise_affine = true;
  double init_std = 0.02;
  std::int64_t pad_token_id = 1;
  std::int64_t bos_token_id = 2;
  std::int64_t eos_token_id = 2;  // BLIP-2 sets 50118, the newline

  std::int64_t embedding_width() const { return word_embed_proj_dim.value_or(hidden_size); }
};

void visit_fields(FieldVisitor& visitor, OptOptions& options);
/** Throws UserError naming the field that makes no sense. */
void validate(const OptOptions& options);

OptOptions opt_125m_options();
/** 2,651,678,720 parameters with BLIP-2's 50304 rows. */
OptOptions opt_2_7b_options();
OptOptions opt_6_7b_options();

class OptLayerImpl : public torch::nn::Module {
 public:
  explicit OptLayerImpl(const OptOptions& options);
  /** x [B, T, H]; keys and values go through `cache`, layer `index`. */
  at::Tensor forward(const at::Tensor& x, const at::Tensor& mask, KvCache& cache, std::size_t index);

 private:
  at::Tensor attend(const at::Tensor& x, const at::Tensor& mask, KvCache& cache, std::size_t index);
  at::Tensor feed_forward(const at::Tensor& x);
  at::Tensor drop(const at::Tensor& x) const;

  std::int64_t heads_;
  bool norm_first_;
  double dropout_, attention_dropout_;
  Activation activation_;
  torch::nn::Linear q_proj_{nullptr}, k_proj_{nullptr}, v_proj_{nullptr}, out_proj_{nullptr}, fc1_{nullptr},
      fc2_{nullptr};
  torch::nn::LayerNorm self_attn_layer_norm_{nullptr}, final_layer_norm_{nullptr};
};
TORCH_MODULE(OptLayer);

class OptLanguageModelImpl : public torch::nn::Module, public LanguageModel {
 public:
  explicit OptLanguageModelImpl(const OptOptions& options);

  std::int64_t width() const override { return options_.hidden_size; }
  at::Tensor embed(const at::Tensor& ids) override;
  at::Tensor loss(const Prompt& prompt, const at::Tensor& labels) override;
  std::pair<std::unique_ptr<DecodingState>, at::Tensor> begin(const Prompt& prompt) override;
  at::Tensor step(DecodingState& state, const at::Tensor& ids) override;
  SpecialIds special_ids() const override;
  bool is_encoder_decoder() const override { return false; }
  std::int64_t max_positions() const override { return options_.max_position_embeddings; }
  torch::nn::Module& module() override { return *this; }

  /** Logits [B, T, V] of every row of the prompt; appends the layers' inputs and the final state to `hidden_states`. */
  at::Tensor logits(const Prompt& prompt, std::vector<at::Tensor>* hidden_states = nullptr);
  const OptOptions& options() const { return options_; }

 private:
  at::Tensor decode(const at::Tensor& embeds, const at::Tensor& positions, const at::Tensor& mask, KvCache& cache,
                    std::vector<at::Tensor>* hidden_states = nullptr);
  at::Tensor head(const at::Tensor& hidden);

  OptOptions options_;
  torch::nn::Embedding embed_tokens_{nullptr}, embed_positions_{nullptr};
  torch::nn::Linear project_in_{nullptr}, project_out_{nullptr};
  torch::nn::LayerNorm final_layer_norm_{nullptr};
  std::vector<OptLayer> layers_;
};
TORCH_MODULE(OptLanguageModel);

}  // namespace blip2
