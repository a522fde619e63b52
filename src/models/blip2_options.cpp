#include "blip2/models/blip2_options.h"

#include "blip2/core/error.h"

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
  if (options.num_query_tokens < 1) throw UserError("num_query_tokens must be at least 1");
  if (options.image_text_hidden_size < 1) throw UserError("image_text_hidden_size must be at least 1");
}

}  // namespace blip2
