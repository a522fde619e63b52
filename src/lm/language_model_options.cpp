#include "blip2/lm/language_model_options.h"

#include "blip2/core/error.h"

namespace blip2 {
namespace {

/** Calls `visit` with the options of the kind that `model_type` names. */
template <typename Options, typename Visit>
auto visit_kind(Options& options, Visit visit) {
  if (options.model_type == "opt") return visit(options.opt);
  if (options.model_type == "t5") return visit(options.t5);
  throw UserError("text_config: unknown model_type '" + options.model_type + "', expected opt or t5");
}

std::shared_ptr<LanguageModel> make(const OptOptions& options, const WeightOptions& weights) {
  return std::make_shared<OptLanguageModelImpl>(options, weights);
}

std::shared_ptr<LanguageModel> make(const T5Options& options, const WeightOptions& weights) {
  return std::make_shared<T5LanguageModelImpl>(options, weights);
}

}  // namespace

void visit_fields(FieldVisitor& visitor, LanguageModelOptions& options) {
  visitor.field("model_type", options.model_type);
  visit_kind(options, [&](auto& kind) { visit_fields(visitor, kind); });
}

void validate(const LanguageModelOptions& options) {
  visit_kind(options, [](const auto& kind) { validate(kind); });
}

std::shared_ptr<LanguageModel> make_language_model(const LanguageModelOptions& options, const WeightOptions& weights) {
  return visit_kind(options, [&](const auto& kind) { return make(kind, weights); });
}

}  // namespace blip2
