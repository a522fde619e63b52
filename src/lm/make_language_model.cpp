#include "blip2/lm/language_model_options.h"
#include "lm/model_kind.h"

namespace blip2 {
namespace {

std::shared_ptr<LanguageModel> make(const OptOptions& options, const WeightOptions& weights) {
  return std::make_shared<OptLanguageModelImpl>(options, weights);
}

std::shared_ptr<LanguageModel> make(const T5Options& options, const WeightOptions& weights) {
  return std::make_shared<T5LanguageModelImpl>(options, weights);
}

}  // namespace

std::shared_ptr<LanguageModel> make_language_model(const LanguageModelOptions& options, const WeightOptions& weights) {
  return visit_kind(options, [&](const auto& kind) { return make(kind, weights); });
}

}  // namespace blip2
