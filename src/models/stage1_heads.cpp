#include "models/stage1_heads.h"

#include <torch/torch.h>

#include "blip2/checkpoint/module_state.h"

namespace blip2 {

bool is_stage1_head(const std::string& name) {
  return name == "temperature" || name.starts_with("itg_head.");
}

bool has_new_stage1_heads(const Blip2QFormerImpl& model) {
  if (model.temperature.item<float>() != 0.07F) return false;
  for (const auto& [name, parameter] : named_parameters(model)) {
    if (name == "itg_head.bias") return parameter.eq(0).all().item<bool>();
  }
  return false;
}

void save_stage1_heads(const Blip2QFormerImpl& model, const std::filesystem::path& folder) {
  const auto wanted = [](const std::string& name, const at::Tensor&) { return is_stage1_head(name); };
  save_safetensors(named_parameters(model, wanted), folder / kStage1HeadsFile);
}

bool load_stage1_heads(Blip2QFormerImpl& model, const std::filesystem::path& folder) {
  std::error_code ignored;
  const std::filesystem::path file = folder / kStage1HeadsFile;
  if (!std::filesystem::exists(file, ignored)) return false;
  LoadOptions load;
  load.source = file.string();
  load.ignore.clear();
  for (const auto& [name, parameter] : named_parameters(model)) {
    if (!is_stage1_head(name)) load.ignore.push_back(name);
  }
  load_parameters(model, load_safetensors(file), load);
  return true;
}

}  // namespace blip2
