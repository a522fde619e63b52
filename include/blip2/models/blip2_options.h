// One description of a BLIP-2 model: the schema of a Hugging Face config.json. Run configs embed it under "model";
// there is no second schema.
#pragma once

#include <cstdint>
#include <optional>

#include "blip2/core/field_visitor.h"
#include "blip2/lm/language_model_options.h"
#include "blip2/qformer/qformer_layer.h"
#include "blip2/vision/vision_encoder.h"

namespace blip2 {

struct Blip2Options {
  VisionOptions vision_config;
  QFormerOptions qformer_config;
  std::int64_t num_query_tokens = 32;
  std::int64_t image_text_hidden_size = 256;      // width of the contrastive features
  std::optional<std::int64_t> image_token_index;  // id of `<image>`; null in retrieval models and old folders
};

void visit_fields(FieldVisitor& visitor, Blip2Options& options);

/** A model of stage 2: the language model's sizes besides. */
struct Blip2GeneratorOptions : Blip2Options {
  LanguageModelOptions text_config;
};

void visit_fields(FieldVisitor& visitor, Blip2GeneratorOptions& options);

/** Checks every part and what must fit together; sets qformer_config.encoder_hidden_size. Throws UserError. */
void resolve(Blip2Options& options);

}  // namespace blip2
