#include "train/restore_tensors.h"

#include <sstream>

#include "blip2/core/error.h"

namespace blip2 {
namespace {

std::string describe(const at::Tensor& tensor) {
  std::ostringstream text;
  text << at::toString(tensor.scalar_type()) << " " << tensor.sizes();
  return text.str();
}

std::string list_first(const std::vector<std::string>& problems) {
  constexpr std::size_t kShown = 5;
  std::string text;
  for (std::size_t i = 0; i < std::min(kShown, problems.size()); ++i) text += (i == 0 ? "" : ", ") + problems[i];
  if (problems.size() > kShown) text += " and " + std::to_string(problems.size() - kShown) + " more";
  return text;
}

}  // namespace

void restore_tensors(const NamedTensors& own, const NamedTensors& saved, const std::string& what) {
  std::vector<std::string> problems;
  for (const auto& [name, tensor] : own) {
    const auto found = saved.find(name);
    if (found == saved.end()) {
      problems.push_back("'" + name + "' is missing");
    } else if (found->second.sizes() != tensor.sizes() || found->second.scalar_type() != tensor.scalar_type()) {
      problems.push_back("'" + name + "' is " + describe(found->second) + " instead of " + describe(tensor));
    }
  }
  for (const auto& [name, tensor] : saved) {
    if (!own.contains(name)) problems.push_back("'" + name + "' belongs to no trained parameter");
  }
  if (!problems.empty()) {
    throw UserError(what + " does not fit the model (" + list_first(problems) +
                    "): it was saved from a different model or set of trained parameters");
  }
  const torch::NoGradGuard no_grad;
  for (const auto& [name, tensor] : own) tensor.detach().copy_(saved.at(name));
}

}  // namespace blip2
