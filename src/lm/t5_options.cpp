#include "blip2/lm/t5_options.h"

#include "blip2/core/error.h"

namespace blip2 {

Activation T5Options::activation() const {
  if (!dense_act_fn.empty()) return activation_from_name(dense_act_fn);
  if (feed_forward_proj == "gated-gelu") return Activation::kGeluTanh;
  return activation_from_name(is_gated() ? feed_forward_proj.substr(6) : feed_forward_proj);
}

void visit_fields(FieldVisitor& visitor, T5Options& options) {
  visitor.field("vocab_size", options.vocab_size);
  visitor.field("d_model", options.d_model);
  visitor.field("d_kv", options.d_kv);
  visitor.field("d_ff", options.d_ff);
  visitor.field("num_layers", options.num_layers);
  visitor.field("num_decoder_layers", options.num_decoder_layers);
  visitor.field("num_heads", options.num_heads);
  visitor.field("relative_attention_num_buckets", options.relative_attention_num_buckets);
  visitor.field("relative_attention_max_distance", options.relative_attention_max_distance);
  visitor.field("dropout_rate", options.dropout_rate);
  visitor.field("layer_norm_epsilon", options.layer_norm_epsilon);
  visitor.field("initializer_factor", options.initializer_factor);
  visitor.field("feed_forward_proj", options.feed_forward_proj);
  visitor.field("dense_act_fn", options.dense_act_fn);
  visitor.field("tie_word_embeddings", options.tie_word_embeddings);
  bool scales = options.scales_output();
  const bool before = scales;
  visitor.field("scale_decoder_outputs", scales);
  if (scales != before) options.scale_decoder_outputs = scales ? 1 : 0;
  visitor.field("pad_token_id", options.pad_token_id);
  visitor.field("bos_token_id", options.bos_token_id);
  visitor.field("eos_token_id", options.eos_token_id);
  visitor.field("decoder_start_token_id", options.decoder_start_token_id);
}

void validate(const T5Options& options) {
  auto refuse = [](const std::string& what) { throw UserError("text_config: " + what); };
  if (options.vocab_size < 1) refuse("vocab_size must be at least 1");
  if (options.d_model < 1 || options.d_kv < 1 || options.d_ff < 1) refuse("d_model, d_kv and d_ff must be at least 1");
  if (options.num_heads < 1) refuse("num_heads must be at least 1");
  if (options.num_layers < 1 || options.decoder_layers() < 1) refuse("num_layers must be at least 1");
  if (options.relative_attention_num_buckets < 4) refuse("relative_attention_num_buckets must be at least 4");
  if (options.relative_attention_max_distance <= options.relative_attention_num_buckets / 2) {
    refuse("relative_attention_max_distance must exceed half of relative_attention_num_buckets");
  }
  options.activation();
}

T5Options flan_t5_xl_options() {
  T5Options options;
  options.d_model = 2048;
  options.d_ff = 5120;
  options.num_layers = 24;
  options.num_heads = 32;
  options.feed_forward_proj = "gated-gelu";
  options.dense_act_fn = "gelu";
  options.tie_word_embeddings = false;
  return options;
}

T5Options flan_t5_xxl_options() {
  T5Options options = flan_t5_xl_options();
  options.d_model = 4096;
  options.d_ff = 10240;
  options.num_heads = 64;
  return options;
}

}  // namespace blip2
