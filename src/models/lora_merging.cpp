#include "models/lora_merging.h"

#include <torch/torch.h>

#include <algorithm>
#include <set>
#include <sstream>

#include "blip2/core/error.h"
#include "blip2/core/weight_memory.h"
#include "core/in_quotes.h"
#include "core/real_place.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLanguageModel = "language_model.";

/** "" when the update can be added to the parameter. */
std::string misfit(const LoraUpdate& update, const at::Tensor& parameter) {
  if (!parameter.is_floating_point()) return " is rounded to int8 or int4 already, merge the adapter before";
  const std::vector<std::int64_t> shape{update.b.size(0), update.a.size(1)};
  if (parameter.sizes() == at::IntArrayRef(shape)) return "";
  std::ostringstream text;
  text << " is adapted as " << at::IntArrayRef(shape) << " where the model has " << parameter.sizes();
  return text.str();
}

/** An adapter of the language model alone names nothing as the whole model does. */
bool is_of_language_model(const LoraAdapter& adapter, const NamedTensors& parameters) {
  for (const auto& [name, update] : adapter.updates()) {
    if (parameters.count(name) != 0 || parameters.count(kLanguageModel + name) == 0) return false;
  }
  return true;
}

void add(const LoraUpdate& update, at::Tensor& parameter) {
  const auto options = parameter.options().requires_grad(false);
  parameter.addmm_(update.b.to(options), update.a.to(options), 1, update.scale);
}

}  // namespace

LoraMerging::LoraMerging(const LoraFolders& folders) {
  for (const auto& folder : folders) adapters_.emplace_back(folder);
}

LoraFolders LoraMerging::without(const LoraFolders& named, const std::vector<fs::path>& merged) {
  std::set<fs::path> known, once;
  for (const auto& folder : merged) {
    if (LoraAdapter::is_in(folder)) known.insert(real_place(folder));
  }
  LoraFolders folders;
  for (const auto& folder : named) {
    const fs::path place = real_place(folder);
    if (!once.insert(place).second) {
      throw UserError("the adapter in '" + folder.string() + "' is named twice: every adapter is merged once");
    }
    if (known.count(place) == 0) folders.push_back(folder);
  }
  return folders;
}

LoraFolders LoraMerging::with_own(const fs::path& folder, const LoraFolders& named) {
  LoraFolders folders = without(named, {folder});
  if (LoraAdapter::is_in(folder)) folders.insert(folders.begin(), folder);
  return folders;
}

void LoraMerging::bind(torch::nn::Module& module, const LoraScope& scope) {
  const NamedTensors parameters = named_parameters(module);
  const auto is_elsewhere = [&](const std::string& name) {
    return std::any_of(scope.except.begin(), scope.except.end(),
                       [&](const std::string& start) { return name.starts_with(start); });
  };
  pending_.clear();
  for (const LoraAdapter& adapter : adapters_) {
    const std::string outer = scope.prefix.empty() && is_of_language_model(adapter, parameters) ? kLanguageModel : "";
    std::string problems;
    for (const auto& [full_name, update] : adapter.updates()) {
      if (!full_name.starts_with(scope.prefix)) continue;
      const std::string name = outer + full_name.substr(scope.prefix.size());
      const auto found = parameters.find(name);
      if (is_elsewhere(name) || (found == parameters.end() && !scope.strict)) continue;
      const std::string reason = found == parameters.end() ? " is not in the model" : misfit(update, found->second);
      if (!reason.empty()) {
        problems += (problems.empty() ? "" : ", ") + in_quotes(full_name) + reason;
        continue;
      }
      Target& target = pending_[name];
      target.parameter = found->second;
      target.updates.push_back(update);
    }
    if (problems.empty()) continue;
    pending_.clear();
    throw UserError("'" + adapter.folder().string() + "': this adapter does not fit the model: " + problems);
  }
}

void LoraMerging::attach(LoadOptions& options, const std::string& prefix, const std::string& part) {
  if (pending_.empty()) return;
  const auto is_changed = [this, part](const std::string& name) {
    return name.starts_with(part) && pending_.count(name) != 0;
  };
  options.keeps_stored_dtype = [=, before = options.keeps_stored_dtype](const std::string& name) {
    return !is_changed(prefix + name) && before && before(name);
  };
  options.filled = [=, this, before = options.filled](const std::string& name) {
    if (is_changed(prefix + name)) merge(prefix + name);
    if (before) before(name);
  };
}

void LoraMerging::merge(const std::string& name) {
  const auto found = pending_.find(name);
  if (found == pending_.end()) return;
  const torch::NoGradGuard no_grad;
  auto& [parameter, updates] = found->second;
  TORCH_CHECK(parameter.is_floating_point(), "LoraMerging: ", name, " was rounded before an adapter was merged");
  if (parameter.element_size() < 4) {
    const at::Tensor wide = parameter.is_cpu() ? empty_weight(parameter.sizes(), at::kFloat).copy_(parameter)
                                               : parameter.detach().to(at::kFloat);
    parameter.set_data(wide);
  }
  for (const auto& update : updates) add(update, parameter);
  pending_.erase(found);
}

void LoraMerging::finish() {
  while (!pending_.empty()) merge(std::string(pending_.begin()->first));
}

}  // namespace blip2
