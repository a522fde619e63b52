// `text_config`: which language model and how large. The schema is Hugging Face's, flat, told apart by `model_type`.
#pragma once

#include <memory>
#include <string>

#include "blip2/lm/language_model.h"
#include "blip2/lm/opt.h"
#include "blip2/lm/t5_options.h"

namespace blip2 {

struct LanguageModelOptions {
  std::string model_type = "opt";  // or "t5"
  OptOptions opt;                  // used when model_type is "opt"
  T5Options t5;                    // used when model_type is "t5"

  std::int64_t width() const { return model_type == "t5" ? t5.d_model : opt.hidden_size; }
};

/** Visits `model_type` and the fields of that kind. Throws UserError for a kind that is not supported. */
void visit_fields(FieldVisitor& visitor, LanguageModelOptions& options);

/** A model with random weights. Throws UserError for options that make no sense. */
std::shared_ptr<LanguageModel> make_language_model(const LanguageModelOptions& options);

}  // namespace blip2
