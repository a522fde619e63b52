#include "blip2/core/error.h"
#include "blip2/core/size_check.h"
#include "blip2/lm/opt.h"

namespace blip2 {
namespace {

OptOptions sized(std::int64_t hidden_size, std::int64_t ffn_dim, std::int64_t heads, std::int64_t layers) {
  OptOptions options;
  options.hidden_size = hidden_size;
  options.ffn_dim = ffn_dim;
  options.num_attention_heads = heads;
  options.num_hidden_layers = layers;
  return options;
}

OptOptions as_in_blip2(OptOptions options) {
  options.vocab_size = 50304;
  options.eos_token_id = 50118;
  return options;
}

}  // namespace

void visit_fields(FieldVisitor& visitor, OptOptions& options) {
  visitor.field("vocab_size", options.vocab_size);
  visitor.field("hidden_size", options.hidden_size);
  visitor.field("num_hidden_layers", options.num_hidden_layers);
  visitor.field("ffn_dim", options.ffn_dim);
  visitor.field("max_position_embeddings", options.max_position_embeddings);
  visitor.field("do_layer_norm_before", options.do_layer_norm_before);
  visitor.field("_remove_final_layer_norm", options.remove_final_layer_norm);
  visitor.field("word_embed_proj_dim", options.word_embed_proj_dim);
  visitor.field("dropout", options.dropout);
  visitor.field("attention_dropout", options.attention_dropout);
  visitor.field("init_std", options.init_std);
  visitor.field("num_attention_heads", options.num_attention_heads);
  visitor.field("activation_function", options.activation_function);
  visitor.field("pad_token_id", options.pad_token_id);
  visitor.field("bos_token_id", options.bos_token_id);
  visitor.field("eos_token_id", options.eos_token_id);
  visitor.field("enable_bias", options.enable_bias);
  visitor.field("layer_norm_elementwise_affine", options.layer_norm_elementwise_affine);
  visitor.field("tie_word_embeddings", options.tie_word_embeddings);
}

void validate(const OptOptions& options) {
  auto refuse = [](const std::string& what) { throw UserError("text_config: " + what); };
  check_size("text_config", "vocab_size", options.vocab_size);
  check_not_negative("text_config", "init_std", options.init_std);
  check_size("text_config", "hidden_size", options.hidden_size);
  check_size("text_config", "num_hidden_layers", options.num_hidden_layers, kMostLayers);
  check_size("text_config", "ffn_dim", options.ffn_dim);
  check_size("text_config", "max_position_embeddings", options.max_position_embeddings);
  check_size("text_config", "word_embed_proj_dim", options.embedding_width());
  if (options.num_attention_heads < 1 || options.hidden_size % options.num_attention_heads != 0) {
    refuse("hidden_size " + std::to_string(options.hidden_size) +
           " must be a positive multiple of num_attention_heads " + std::to_string(options.num_attention_heads));
  }
  check_token_id("text_config", "pad_token_id", options.pad_token_id, options.vocab_size);
  check_token_id("text_config", "bos_token_id", options.bos_token_id, options.vocab_size);
  check_token_id("text_config", "eos_token_id", options.eos_token_id, options.vocab_size);
  for (const double probability : {options.dropout, options.attention_dropout}) {
    if (!(probability >= 0 && probability < 1)) refuse("dropout probabilities must lie in [0, 1)");
  }
}

OptOptions opt_125m_options() {
  return {};
}

OptOptions opt_350m_options() {
  OptOptions options = sized(1024, 4096, 16, 24);
  options.word_embed_proj_dim = 512;
  options.do_layer_norm_before = false;
  return options;
}

OptOptions opt_1_3b_options() {
  return sized(2048, 8192, 32, 24);
}

OptOptions opt_2_7b_options() {
  return as_in_blip2(sized(2560, 10240, 32, 32));
}

OptOptions opt_6_7b_options() {
  return as_in_blip2(sized(4096, 16384, 32, 32));
}

}  // namespace blip2
