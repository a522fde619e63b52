// Which language model a `text_config` describes: the fields of one kind, flat beside `model_type`, as in a Hugging
// Face config.json. The only place that knows every kind.
#pragma once

#include <memory>
#include <string>

#include "blip2/lm/opt.h"
#include "blip2/lm/t5.h"

namespace blip2 {

struct LanguageModelOptions {
  std::string model_type = "opt";  // or "t5": which of the two below counts
  OptOptions opt;
  T5Options t5;

  /** Width of the prompt's rows. */
  std::int64_t width() const { return model_type == "t5" ? t5.d_model : opt.hidden_size; }
};

/** Visits `model_type` and the fields of that kind. Throws UserError for a kind that does not exist here. */
void visit_fields(FieldVisitor& visitor, LanguageModelOptions& options);

/** Checks the kind that counts. Throws UserError. */
void validate(const LanguageModelOptions& options);

/** A new language model. Throws UserError when the options make no sense. */
std::shared_ptr<LanguageModel> make_language_model(const LanguageModelOptions& options,
                                                   const WeightOptions& weights = {});

}  // namespace blip2
