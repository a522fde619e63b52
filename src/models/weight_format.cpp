#include "blip2/models/weight_format.h"

#include <torch/torch.h>

#include <algorithm>
#include <map>
#include <set>

#include "blip2/core/error.h"
#include "blip2/nn/linear.h"
#include "models/weight_format_loading.h"

namespace blip2 {
namespace {

/** The format of the group that the name belongs to; float32 for one in none. */
WeightFormat format_of(const std::string& name, const std::vector<MatrixGroup>& groups) {
  const auto found =
      std::find_if(groups.begin(), groups.end(), [&](const auto& group) { return name.starts_with(group.prefix); });
  return found == groups.end() ? WeightFormat::kFloat32 : found->format;
}

/** Token tables; a tied head reads them whole for every token. */
bool is_token_table(const std::string& name) {
  return name.ends_with("embed_tokens.weight") || name.ends_with("shared.weight");
}

}  // namespace

void take_no_gradients(torch::nn::Module& module, WeightFormat format) {
  if (format == WeightFormat::kFloat32) return;
  for (auto& parameter : module.parameters()) parameter.requires_grad_(false);
}

WeightFormat inference_format(const std::string& quantize) {
  if (quantize == "none") return WeightFormat::kAsStored;
  if (quantize == "int8") return WeightFormat::kInt8;
  if (quantize == "int8-fast") return WeightFormat::kInt8Fast;
  if (quantize == "int4") return WeightFormat::kInt4;
  throw UserError("cannot quantize to '" + quantize + "': expected none, int8, int8-fast or int4");
}

void keep_matrices(torch::nn::Module& module, const std::vector<MatrixGroup>& groups, LoadOptions& options) {
  std::map<std::string, std::shared_ptr<LinearImpl>> layers;  // by the name of their weight
  std::set<std::string> kept;                                 // layers and token tables
  for (const auto& item : module.named_modules()) {
    const std::string name = item.key() + ".weight";
    if (format_of(name, groups) == WeightFormat::kFloat32) continue;
    if (auto layer = std::dynamic_pointer_cast<LinearImpl>(item.value())) layers[name] = layer;
    if (layers.count(name) != 0 || is_token_table(name)) kept.insert(name);
  }
  if (kept.empty()) return;
  for (const auto& item : module.named_parameters()) {
    if (kept.count(item.key()) != 0) item.value().requires_grad_(false);
  }
  options.keeps_stored_dtype = [kept](const std::string& name) { return kept.count(name) != 0; };
  options.filled = [layers, groups](const std::string& name) {
    const auto layer = layers.find(name);
    if (layer == layers.end() || name.ends_with("lm_head.weight")) return;
    const WeightFormat format = format_of(name, groups);
    if (format == WeightFormat::kInt8) layer->second->quantize(IntegerWeights::kInt8);
    if (format == WeightFormat::kInt8Fast) layer->second->quantize(IntegerWeights::kInt8, IntegerInputs::k8Bits);
    if (format == WeightFormat::kInt4) layer->second->quantize(IntegerWeights::kInt4);
  };
}

}  // namespace blip2
