#include "blip2/core/error.h"
#include "blip2/core/size_check.h"
#include "blip2/lm/t5.h"

namespace blip2 {
namespace {

void follow_feed_forward(T5Options& options) {
  const std::string& name = options.feed_forward_proj;
  options.is_gated_act = name.starts_with("gated-");
  options.dense_act_fn = name == "gated-gelu" ? "gelu_new" : name.substr(name.rfind('-') + 1);
}

T5Options flan(std::int64_t d_model, std::int64_t d_ff, std::int64_t heads) {
  T5Options options;
  options.d_model = d_model;
  options.d_ff = d_ff;
  options.num_heads = heads;
  options.num_layers = 24;
  options.feed_forward_proj = "gated-gelu";
  options.is_gated_act = true;
  options.dense_act_fn = "gelu";
  options.bos_token_id = 1;
  options.tie_word_embeddings = false;
  options.scale_decoder_outputs = false;
  return options;
}

}  // namespace

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
  const std::string feed_forward = options.feed_forward_proj;
  visitor.field("feed_forward_proj", options.feed_forward_proj);
  if (options.feed_forward_proj != feed_forward) follow_feed_forward(options);
  visitor.field("dense_act_fn", options.dense_act_fn);
  visitor.field("is_gated_act", options.is_gated_act);
  visitor.field("pad_token_id", options.pad_token_id);
  visitor.field("eos_token_id", options.eos_token_id);
  visitor.field("bos_token_id", options.bos_token_id);
  visitor.field("decoder_start_token_id", options.decoder_start_token_id);
  const bool tied = options.tie_word_embeddings;
  visitor.field("tie_word_embeddings", options.tie_word_embeddings);
  if (options.tie_word_embeddings != tied) options.scale_decoder_outputs = options.tie_word_embeddings;
  visitor.field("scale_decoder_outputs", options.scale_decoder_outputs);
}

void validate(const T5Options& options) {
  auto refuse = [](const std::string& what) { throw UserError("text_config: " + what); };
  check_size("text_config", "vocab_size", options.vocab_size);
  check_not_negative("text_config", "initializer_factor", options.initializer_factor);
  check_not_negative("text_config", "layer_norm_epsilon", options.layer_norm_epsilon);
  check_size("text_config", "d_model", options.d_model);
  check_size("text_config", "d_kv", options.d_kv);
  check_size("text_config", "d_ff", options.d_ff);
  check_size("text_config", "num_heads", options.num_heads);
  check_size("text_config", "num_layers", options.num_layers, kMostLayers);
  check_size("text_config", "num_decoder_layers", options.decoder_layers(), kMostLayers);
  const std::int64_t buckets = options.relative_attention_num_buckets;
  if (buckets < 4 || buckets > kLargestSize || buckets % 2 != 0) {
    refuse("relative_attention_num_buckets " + std::to_string(buckets) + " must be even and at least 4");
  }
  if (options.relative_attention_max_distance <= buckets / 2 ||
      options.relative_attention_max_distance > kLargestSize) {
    refuse("relative_attention_max_distance " + std::to_string(options.relative_attention_max_distance) +
           " must lie above half of relative_attention_num_buckets " + std::to_string(buckets));
  }
  check_token_id("text_config", "pad_token_id", options.pad_token_id, options.vocab_size);
  check_token_id("text_config", "eos_token_id", options.eos_token_id, options.vocab_size);
  check_token_id("text_config", "bos_token_id", options.bos_token_id.value_or(-1), options.vocab_size);
  if (options.decoder_start_token_id < 0 || options.decoder_start_token_id >= options.vocab_size) {
    refuse("decoder_start_token_id " + std::to_string(options.decoder_start_token_id) +
           " must lie in the vocabulary of " + std::to_string(options.vocab_size));
  }
  if (!(options.dropout_rate >= 0 && options.dropout_rate < 1)) refuse("dropout_rate must lie in [0, 1)");
}

T5Options flan_t5_xl_options() {
  return flan(2048, 5120, 32);
}

T5Options flan_t5_xxl_options() {
  return flan(4096, 10240, 64);
}

}  // namespace blip2
