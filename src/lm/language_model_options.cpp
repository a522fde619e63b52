#include "blip2/lm/language_model_options.h"

#include <torch/torch.h>

#include "blip2/core/error.h"
#include "blip2/lm/t5.h"

namespace blip2 {
namespace {

[[noreturn]] void refuse(const std::string& model_type) {
  throw UserError("text_config: the language model '" + model_type + "' is not supported, only opt and t5 are");
}

}  // namespace

void visit_fields(FieldVisitor& visitor, LanguageModelOptions& options) {
  visitor.field("model_type", options.model_type);
  if (options.model_type == "opt") {
    visit_fields(visitor, options.opt);
  } else if (options.model_type == "t5") {
    visit_fields(visitor, options.t5);
  } else {
    refuse(options.model_type);
  }
}

std::shared_ptr<LanguageModel> make_language_model(const LanguageModelOptions& options) {
  if (options.model_type == "opt") return std::make_shared<OptLanguageModelImpl>(options.opt);
  if (options.model_type == "t5") return std::make_shared<T5LanguageModelImpl>(options.t5);
  refuse(options.model_type);
}

}  // namespace blip2
