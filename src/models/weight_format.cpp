#include "blip2/models/weight_format.h"

#include <torch/torch.h>

#include <algorithm>

#include "blip2/core/error.h"
#include "blip2/nn/linear.h"
#include "models/weight_format_loading.h"

namespace blip2 {
namespace {

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), std::string::npos, end) == 0;
}

bool is_below(const std::string& name, const std::vector<std::string>& prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(), [&](const auto& prefix) { return name.rfind(prefix, 0) == 0; });
}

/** Token tables; a tied head reads them whole for every token. */
bool is_token_table(const std::string& name) {
  return ends_with(name, "embed_tokens.weight") || ends_with(name, "shared.weight");
}

}  // namespace

WeightFormat inference_format(const std::string& quantize) {
  if (quantize == "none") return WeightFormat::kAsStored;
  if (quantize == "int8") return WeightFormat::kInt8;
  throw UserError("cannot quantize to '" + quantize + "': expected none or int8");
}

void keep_matrices(torch::nn::Module& module, WeightFormat format, const std::vector<std::string>& prefixes,
                   LoadOptions& options) {
  if (format == WeightFormat::kFloat32) return;
  for (auto& parameter : module.parameters()) parameter.requires_grad_(false);
  std::map<std::string, std::shared_ptr<LinearImpl>> layers;  // by the name of their weight
  for (const auto& item : module.named_modules()) {
    if (!is_below(item.key() + ".", prefixes)) continue;
    if (auto layer = std::dynamic_pointer_cast<LinearImpl>(item.value())) layers[item.key() + ".weight"] = layer;
  }
  const bool quantizes = format == WeightFormat::kInt8;
  const auto is_quantized = [quantizes](const std::string& name) {
    return quantizes && !ends_with(name, "lm_head.weight");
  };
  options.keeps_stored_dtype = [layers, prefixes](const std::string& name) {
    return layers.count(name) != 0 || (is_token_table(name) && is_below(name, prefixes));
  };
  options.filled = [layers, is_quantized](const std::string& name) {
    const auto layer = layers.find(name);
    if (layer != layers.end() && is_quantized(name)) layer->second->quantize();
  };
}

}  // namespace blip2
