#include "blip2/models/blip2_options.h"

#include "blip2/core/size_check.h"
#include "models/generator_options.h"

namespace blip2 {

void visit_fields(FieldVisitor& visitor, Blip2Options& options) {
  visitor.nested("vision_config", options.vision_config);
  visitor.nested("qformer_config", options.qformer_config);
  visitor.field("num_query_tokens", options.num_query_tokens);
  visitor.field("image_text_hidden_size", options.image_text_hidden_size);
  visitor.field("image_token_index", options.image_token_index);
}

void visit_fields(FieldVisitor& visitor, Blip2GeneratorOptions& options) {
  visit_fields(visitor, static_cast<Blip2Options&>(options));
  visitor.nested("text_config", options.text_config);
}

void resolve(Blip2Options& options) {
  options.qformer_config.encoder_hidden_size = options.vision_config.hidden_size;
  validate(options.vision_config);
  validate(options.qformer_config);
  check_size("model", "num_query_tokens", options.num_query_tokens);
  check_size("model", "image_text_hidden_size", options.image_text_hidden_size);
}

void resolve(Blip2GeneratorOptions& options) {
  resolve(static_cast<Blip2Options&>(options));
  validate(options.text_config);
  const LanguageModelOptions& text = options.text_config;
  const std::int64_t vocabulary = text.model_type == "t5" ? text.t5.vocab_size : text.opt.vocab_size;
  if (options.image_token_index) check_token_id("model", "image_token_index", *options.image_token_index, vocabulary);
}

}  // namespace blip2
