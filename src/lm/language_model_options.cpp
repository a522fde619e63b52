#include "blip2/lm/language_model_options.h"

#include "lm/model_kind.h"

namespace blip2 {

void visit_fields(FieldVisitor& visitor, LanguageModelOptions& options) {
  visitor.field("model_type", options.model_type);
  visit_kind(options, [&](auto& kind) { visit_fields(visitor, kind); });
}

void validate(const LanguageModelOptions& options) {
  visit_kind(options, [](const auto& kind) { validate(kind); });
}

}  // namespace blip2
