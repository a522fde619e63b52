#include "blip2/core/error.h"
#include "blip2/lm/opt.h"

namespace blip2 {

void visit_fields(FieldVisitor& visitor, OptOptions& options) {
  visitor.field("vocab_size", options.vocab_size);
  visitor.field("hidden_size", options.hidden_size);
  visitor.field("num_hidden_layers", options.num_hidden_layers);
  visitor.field("ffn_dim", options.ffn_dim);
  visitor.field("num_attention_heads", options.num_attention_heads);
  visitor.field("max_position_embeddings", options.max_position_embeddings);
  visitor.field("do_layer_norm_before", options.do_layer_norm_before);
  visitor.field("_remove_final_layer_norm", options.remove_final_layer_norm);
  visitor.field("word_embed_proj_dim", options.word_embed_proj_dim);
  visitor.field("dropout", options.dropout);
  visitor.field("attention_dropout", options.attention_dropout);
  visitor.field("activation_function", options.activation_function);
  visitor.field("enable_bias", options.enable_bias);
  visitor.field("layer_norm_elementwise_affine", options.layer_norm_elementwise_affine);
  visitor.field("init_std", options.init_std);
  visitor.field("pad_token_id", options.pad_token_id);
  visitor.field("bos_token_id", options.bos_token_id);
  visitor.field("eos_token_id", options.eos_token_id);
}

void validate(const OptOptions& options) {
  auto refuse = [](const std::string& what) { throw UserError("text_config: " + what); };
  if (options.hidden_size <= 0 || options.num_attention_heads <= 0 ||
      options.hidden_size % options.num_attention_heads != 0) {
    refuse("hidden_size " + std::to_string(options.hidden_size) +
           " must be a positive multiple of num_attention_heads " + std::to_string(options.num_attention_heads));
  }
  if (options.num_hidden_layers < 1) refuse("num_hidden_layers must be at least 1");
  if (options.ffn_dim < 1) refuse("ffn_dim must be at least 1");
  if (options.vocab_size < 1) refuse("vocab_size must be at least 1");
  if (options.max_position_embeddings < 1) refuse("max_position_embeddings must be at least 1");
  if (options.embedding_width() < 1) refuse("word_embed_proj_dim must be at least 1");
}

OptOptions opt_125m_options() {
  return {};
}

OptOptions opt_2_7b_options() {
  OptOptions options;
  options.vocab_size = 50304;
  options.hidden_size = 2560;
  options.num_hidden_layers = 32;
  options.ffn_dim = 10240;
  options.num_attention_heads = 32;
  options.eos_token_id = 50118;
  return options;
}

OptOptions opt_6_7b_options() {
  OptOptions options = opt_2_7b_options();
  options.hidden_size = 4096;
  options.ffn_dim = 16384;
  return options;
}

}  // namespace blip2
