#include "blip2/models/lora_adapter.h"

#include <algorithm>
#include <sstream>
#include <utility>

#include "blip2/checkpoint/safetensors.h"
#include "blip2/checkpoint/torch_archive.h"
#include "blip2/core/config.h"
#include "blip2/core/error.h"
#include "core/in_quotes.h"
#include "models/lora_config.h"
#include "models/lora_merging.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

constexpr const char* kConfig = "adapter_config.json";
constexpr const char* kTensors = "adapter_model.safetensors";
constexpr const char* kPickledTensors = "adapter_model.bin";
// PEFT's wrapper around the model that it adapts.
constexpr std::string_view kWrapper = "base_model.model.";
constexpr std::string_view kA = ".lora_A.weight", kB = ".lora_B.weight";

NamedTensors read_tensors(const fs::path& folder) {
  if (fs::exists(folder / kTensors)) return load_safetensors(folder / kTensors);
  if (fs::exists(folder / kPickledTensors)) return load_torch_state_dict(folder / kPickledTensors);
  throw UserError("'" + folder.string() + "' holds neither " + kTensors + " nor " + kPickledTensors);
}

nlohmann::json read_adapter_config(const fs::path& folder) {
  if (!LoraAdapter::is_in(folder)) {
    throw UserError("'" + folder.string() + "' holds no " + kConfig + ": expected the folder of a PEFT adapter");
  }
  const fs::path file = folder / kConfig;
  nlohmann::json config = load_json(file);
  if (!config.is_object()) {
    throw UserError("'" + file.string() + "' must hold a JSON object, found " + config.type_name());
  }
  return config;
}

std::string shape_of(const at::Tensor& tensor) {
  std::ostringstream text;
  text << tensor.sizes();
  return text.str();
}

/** Puts every tensor into the update of its module, by the module's name. */
std::map<std::string, LoraUpdate> sort_tensors(const NamedTensors& tensors, std::vector<std::string>& problems) {
  std::map<std::string, LoraUpdate> updates;
  for (const auto& [full_name, tensor] : tensors) {
    std::string_view name = full_name;
    const bool wrapped = name.starts_with(kWrapper);
    if (wrapped) name.remove_prefix(kWrapper.size());
    const bool is_a = name.ends_with(kA), is_b = name.ends_with(kB);
    if (!wrapped || (!is_a && !is_b) || name.size() == kA.size()) {
      problems.push_back(in_quotes(full_name) + " is no lora_A or lora_B of a layer");
    } else if (tensor.dim() != 2 || !tensor.is_floating_point()) {
      problems.push_back(in_quotes(full_name) + " is " + c10::toString(tensor.scalar_type()) + " " + shape_of(tensor) +
                         ", expected a matrix");
    } else {
      name.remove_suffix(kA.size());
      (is_a ? updates[std::string(name)].a : updates[std::string(name)].b) = tensor.to(at::kFloat);
    }
  }
  return updates;
}

/** "" when both halves are there and have the rank that the config says. */
std::string misfit(const LoraUpdate& update, std::int64_t rank) {
  if (!update.a.defined()) return " has no lora_A";
  if (!update.b.defined()) return " has no lora_B";
  if (update.a.size(0) == rank && update.b.size(1) == rank) return "";
  return " has lora_A " + shape_of(update.a) + " and lora_B " + shape_of(update.b) + ", expected rank " +
         std::to_string(rank);
}

}  // namespace

bool LoraAdapter::is_in(const fs::path& folder) {
  std::error_code ignored;
  return fs::exists(folder / kConfig, ignored);
}

LoraAdapter::LoraAdapter(const fs::path& folder) : folder_(folder) {
  std::vector<std::string> problems;
  const LoraConfig config(read_adapter_config(folder), problems);
  const NamedTensors tensors = read_tensors(folder);
  for (auto& [module, update] : sort_tensors(tensors, problems)) {
    if (const std::string reason = misfit(update, config.rank(module)); !reason.empty()) {
      problems.push_back(in_quotes(module) + reason);
      continue;
    }
    update.scale = config.scale(module);
    updates_.emplace(module + ".weight", update);
  }
  if (updates_.empty() && problems.empty()) problems.emplace_back("it holds no tensors");
  if (problems.empty()) return;
  std::string text;
  for (const auto& problem : problems) text += (text.empty() ? "" : ", ") + problem;
  throw UserError("'" + folder.string() + "': this adapter cannot be merged: " + text);
}

void merge_lora(torch::nn::Module& module, const fs::path& folder) {
  LoraMerging merging({folder});
  merging.bind(module);
  merging.finish();
}

}  // namespace blip2
