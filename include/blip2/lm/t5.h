// T5 and FlanT5 (Hugging Face spec 1.5, 2.3, 3.6): the prompt goes to an encoder, the answer to a decoder that attends
// to it. No absolute positions and no scaling of the scores: a learned bias per head and distance instead. Parameter
// names below `language_model.` are Hugging Face's. What surprises: BLIP-2's FlanT5 uses the exact GELU.
#pragma once

#include <torch/nn/module.h>

#include <optional>
#include <string>
#include <vector>

#include "blip2/core/field_visitor.h"
#include "blip2/lm/language_model.h"
#include "blip2/nn/weight_options.h"

namespace blip2 {

class T5Stack;

/** `text_config` of a Hugging Face config.json with model_type "t5"; the defaults are the class's, T5 v1.0 small. */
struct T5Options {
  std::int64_t vocab_size = 32128;
  std::int64_t d_model = 512;
  std::int64_t d_kv = 64;  // width of a head; heads * d_kv may differ from d_model
  std::int64_t d_ff = 2048;
  std::int64_t num_layers = 6;                     // of the encoder
  std::optional<std::int64_t> num_decoder_layers;  // null: num_layers
  std::int64_t num_heads = 8;
  std::int64_t relative_attention_num_buckets = 32;
  std::int64_t relative_attention_max_distance = 128;
  double dropout_rate = 0.1;  // in training mode
  double layer_norm_epsilon = 1e-6;
  double initializer_factor = 1.0;
  std::string feed_forward_proj = "relu";  // or "gated-gelu", ...
  std::string dense_act_fn = "relu";
  bool is_gated_act = false;
  std::int64_t pad_token_id = 0;
  std::int64_t eos_token_id = 1;
  std::optional<std::int64_t> bos_token_id;
  std::int64_t decoder_start_token_id = 0;
  bool tie_word_embeddings = true;    // true: the head is the embedding, no parameter of its own
  bool scale_decoder_outputs = true;  // by d_model^-0.5 in front of the head
  /**
   * Parity switch, in no file: the norms' variance in float32 even in a float64 model, as the Python implementations
   * take it. It moves gradients by 1e-6; off, float64 is float64 throughout.
   */
  bool float32_variance = false;

  std::int64_t decoder_layers() const { return num_decoder_layers.value_or(num_layers); }
};

/**
 * Where a file names `feed_forward_proj` but not `dense_act_fn` and `is_gated_act`, they follow from it ("gated-gelu"
 * means the tanh approximation); a `dense_act_fn` in the file wins. `scale_decoder_outputs` follows the tie likewise.
 */
void visit_fields(FieldVisitor& visitor, T5Options& options);

/** Throws UserError naming the field that makes no sense. */
void validate(const T5Options& options);

/** FlanT5 as BLIP-2 uses it: exact GELU, a head of its own. */
T5Options flan_t5_xl_options();
T5Options flan_t5_xxl_options();

/** Hidden states for inspection: the input of the first block, after every block, the last one after the final norm. */
struct T5Trace {
  std::vector<at::Tensor> encoder_hidden_states;  // [B, T, d_model]
  std::vector<at::Tensor> decoder_hidden_states;  // [B, L, d_model]
};

class T5LanguageModelImpl : public torch::nn::Module, public LanguageModel {
 public:
  /** Throws UserError when the options make no sense, or for float16, in which T5's sums overflow. */
  explicit T5LanguageModelImpl(const T5Options& options, const WeightOptions& weights = {});
  ~T5LanguageModelImpl() override;

  /**
   * Logits [B, L, vocab_size] of decoder inputs int64 [B, L] (the start token and what follows it), in the model's
   * dtype. Fills the trace when it is not null. Differentiable. `decoder_mask` [B, L] hides padding, which only rows of
   * padding could see. Throws (TORCH_CHECK) for wrong shapes.
   */
  at::Tensor logits(const Prompt& prompt, const at::Tensor& decoder_ids, T5Trace* trace = nullptr,
                    const at::Tensor& decoder_mask = {});

  /** Labels int64 [B, L] as decoder inputs: shifted right behind the start token, padding in place of -100. */
  at::Tensor decoder_inputs(const at::Tensor& labels) const;

  std::int64_t width() const override { return options_.d_model; }
  at::Tensor embed(const at::Tensor& ids) override;
  /** As the interface says; a batch without a single label has loss 0. */
  at::Tensor loss(const Prompt& prompt, const at::Tensor& labels) override;
  std::pair<std::unique_ptr<DecodingState>, at::Tensor> begin(const Prompt& prompt) override;
  at::Tensor step(DecodingState& state, const at::Tensor& ids) override;
  SpecialIds special_ids() const override {
    return {options_.pad_token_id, options_.bos_token_id.value_or(-1), options_.eos_token_id,
            options_.decoder_start_token_id};
  }
  bool is_encoder_decoder() const override { return true; }
  std::int64_t max_positions() const override { return -1; }
  torch::nn::Module& module() override { return *this; }

  const T5Options& options() const { return options_; }

 private:
  at::Tensor encode(const Prompt& prompt, std::vector<at::Tensor>* hidden_states);
  at::Tensor decode(const Prompt& prompt, const at::Tensor& decoder_ids, T5Trace* trace,
                    const at::Tensor& decoder_mask = {});
  at::Tensor head(const at::Tensor& hidden) const;
  /** What is computed in; matrices may be kept narrower (nn/linear.h). */
  at::ScalarType dtype() const;

  T5Options options_;
  at::Tensor shared_, head_weight_;
  std::unique_ptr<T5Stack> encoder_, decoder_;
};
TORCH_MODULE(T5LanguageModel);

}  // namespace blip2
