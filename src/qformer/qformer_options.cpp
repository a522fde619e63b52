// `qformer_config` of a model: how it is read and what it may say.
#include "blip2/core/error.h"
#include "blip2/core/size_check.h"
#include "blip2/qformer/qformer_layer.h"

namespace blip2 {

void visit_fields(FieldVisitor& visitor, QFormerOptions& options) {
  visitor.field("vocab_size", options.vocab_size);
  visitor.field("hidden_size", options.hidden_size);
  visitor.field("num_hidden_layers", options.num_hidden_layers);
  visitor.field("num_attention_heads", options.num_attention_heads);
  visitor.field("intermediate_size", options.intermediate_size);
  visitor.field("hidden_act", options.hidden_act);
  visitor.field("hidden_dropout_prob", options.hidden_dropout_prob);
  visitor.field("attention_probs_dropout_prob", options.attention_probs_dropout_prob);
  visitor.field("max_position_embeddings", options.max_position_embeddings);
  visitor.field("initializer_range", options.initializer_range);
  visitor.field("layer_norm_eps", options.layer_norm_eps);
  visitor.field("cross_attention_frequency", options.cross_attention_frequency);
  visitor.field("encoder_hidden_size", options.encoder_hidden_size);
  visitor.field("use_qformer_text_input", options.use_qformer_text_input);
}

void validate(const QFormerOptions& options) {
  auto refuse = [](const std::string& what) { throw UserError("qformer_config: " + what); };
  if (options.hidden_size <= 0 || options.num_attention_heads <= 0 ||
      options.hidden_size % options.num_attention_heads != 0) {
    refuse("hidden_size " + std::to_string(options.hidden_size) +
           " must be a positive multiple of num_attention_heads " + std::to_string(options.num_attention_heads));
  }
  check_size("qformer_config", "hidden_size", options.hidden_size);
  check_size("qformer_config", "intermediate_size", options.intermediate_size);
  check_size("qformer_config", "num_hidden_layers", options.num_hidden_layers, kMostLayers);
  check_size("qformer_config", "vocab_size", options.vocab_size);
  check_size("qformer_config", "max_position_embeddings", options.max_position_embeddings);
  check_size("qformer_config", "cross_attention_frequency", options.cross_attention_frequency);
  for (const double probability : {options.hidden_dropout_prob, options.attention_probs_dropout_prob}) {
    if (!(probability >= 0 && probability < 1)) refuse("dropout probabilities must lie in [0, 1)");
  }
  check_not_negative("qformer_config", "initializer_range", options.initializer_range);
  check_not_negative("qformer_config", "layer_norm_eps", options.layer_norm_eps);
}

}  // namespace blip2
