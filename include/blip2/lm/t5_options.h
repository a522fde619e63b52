// Sizes and switches of a T5 in Hugging Face's names, and the two rules that published configs make tricky.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "blip2/core/field_visitor.h"
#include "blip2/nn/activation.h"

namespace blip2 {

/** `text_config` of a Hugging Face config.json with model_type "t5"; the defaults are the class's. */
struct T5Options {
  std::int64_t vocab_size = 32128;
  std::int64_t d_model = 512;
  std::int64_t d_kv = 64;  // per head; heads * d_kv may differ from d_model
  std::int64_t d_ff = 2048;
  std::int64_t num_layers = 6;
  std::optional<std::int64_t> num_decoder_layers;  // null: num_layers
  std::int64_t num_heads = 8;
  std::int64_t relative_attention_num_buckets = 32;
  std::int64_t relative_attention_max_distance = 128;
  double dropout_rate = 0.1;
  double layer_norm_epsilon = 1e-6;
  double initializer_factor = 1.0;
  std::string feed_forward_proj = "relu";  // "gated-gelu": two input projections
  std::string dense_act_fn;                // wins over feed_forward_proj where a file has it (BLIP-2: "gelu")
  bool tie_word_embeddings = true;
  std::optional<std::int64_t> scale_decoder_outputs;  // 0 or 1; null: as tie_word_embeddings
  std::int64_t pad_token_id = 0;
  std::int64_t bos_token_id = 1;
  std::int64_t eos_token_id = 1;
  std::int64_t decoder_start_token_id = 0;

  std::int64_t decoder_layers() const { return num_decoder_layers.value_or(num_layers); }
  bool is_gated() const { return feed_forward_proj.rfind("gated-", 0) == 0; }
  /** `dense_act_fn` if given; else what feed_forward_proj says, where "gated-gelu" means the tanh variant. */
  Activation activation() const;
  bool scales_output() const { return scale_decoder_outputs ? *scale_decoder_outputs != 0 : tie_word_embeddings; }
};

void visit_fields(FieldVisitor& visitor, T5Options& options);
/** Throws UserError naming the field that makes no sense. */
void validate(const T5Options& options);

/** FlanT5 as BLIP-2 uses it: exact GELU, head of its own. XL has 2,849,757,184 parameters. */
T5Options flan_t5_xl_options();
T5Options flan_t5_xxl_options();

}  // namespace blip2
