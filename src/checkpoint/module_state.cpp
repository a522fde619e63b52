// Loading in two passes: compare everything, then copy everything.
#include "blip2/checkpoint/module_state.h"

#include <set>

#include "blip2/checkpoint/hugging_face.h"
#include "blip2/core/error.h"
#include "blip2/core/weight_memory.h"
#include "checkpoint/safetensors_header.h"
#include "core/in_quotes.h"
#include "core/shape_text.h"

namespace blip2 {
namespace {

// A tensor that need not be in memory yet.
struct Candidate {
  std::vector<std::int64_t> shape;
  at::ScalarType dtype;
  std::function<void(at::Tensor target)> read_into;
};
using Candidates = std::map<std::string, Candidate>;

struct Fitting {
  std::string name;
  at::Tensor parameter;
  const Candidate* candidate;
};

bool is_narrower(at::ScalarType dtype, const at::Tensor& parameter) {
  return parameter.is_cpu() && c10::isFloatingType(dtype) &&
         static_cast<std::int64_t>(c10::elementSize(dtype)) < parameter.element_size();
}

bool ends_with_component(const std::string& name, const std::string& component) {
  if (name.size() <= component.size()) return name == component;
  const std::size_t start = name.size() - component.size();
  return name[start - 1] == '.' && name.compare(start, std::string::npos, component) == 0;
}

bool is_ignored(const std::string& name, const std::vector<std::string>& ignore) {
  for (const auto& entry : ignore) {
    if (entry.empty()) continue;
    if (entry.back() == '.' ? name.starts_with(entry) : ends_with_component(name, entry)) return true;
  }
  return false;
}

// "" when the tensor can become the parameter.
std::string misfit(const at::Tensor& parameter, const Candidate& candidate) {
  if (parameter.sizes() != at::IntArrayRef(candidate.shape)) {
    return " has shape " + shape_text(candidate.shape) + " where the model has " + shape_text(parameter.sizes());
  }
  if (c10::isFloatingType(candidate.dtype) != c10::isFloatingType(parameter.scalar_type())) {
    return " has dtype " + std::string(c10::toString(candidate.dtype)) + " where the model has " +
           c10::toString(parameter.scalar_type());
  }
  return "";
}

void refuse(const std::vector<std::string>& problems, const std::string& source) {
  if (problems.empty()) return;
  std::string text = "'" + source + "': " + std::to_string(problems.size()) +
                     (problems.size() == 1 ? " tensor does" : " tensors do") + " not fit the model: ";
  for (std::size_t i = 0; i < problems.size(); ++i) text += (i > 0 ? ", " : "") + problems[i];
  throw UserError(text);
}

LoadReport load(torch::nn::Module& module, const Candidates& candidates, const LoadOptions& options) {
  const NamedTensors parameters = named_parameters(module);
  LoadReport report;
  std::vector<std::string> missing, misshapen, unexpected;
  std::vector<Fitting> fitting;
  std::set<std::string> used;
  for (const auto& [name, parameter] : parameters) {
    const auto renamed = options.stored_as.find(name);
    const std::string stored = options.prefix + (renamed == options.stored_as.end() ? name : renamed->second);
    const auto found = candidates.find(stored);
    if (is_ignored(name, options.ignore)) continue;
    used.insert(stored);
    if (found == candidates.end()) {
      report.missing.push_back(stored);
      missing.push_back(in_quotes(stored) + " is missing");
    } else if (const std::string reason = misfit(parameter, found->second); !reason.empty()) {
      misshapen.push_back(in_quotes(found->first) + reason);
    } else {
      fitting.push_back({name, parameter, &found->second});
    }
  }
  for (const auto& [name, candidate] : candidates) {
    if (!name.starts_with(options.prefix)) continue;
    const std::string own_name = name.substr(options.prefix.size());
    if (used.count(name) != 0 || is_ignored(own_name, options.ignore)) continue;
    report.unexpected.push_back(name);
    unexpected.push_back(in_quotes(name) + " is unexpected");
  }
  std::vector<std::string> problems = std::move(misshapen);
  if (options.strict) {
    problems.insert(problems.begin(), missing.begin(), missing.end());
    problems.insert(problems.end(), unexpected.begin(), unexpected.end());
  }
  refuse(problems, options.source);

  const torch::NoGradGuard no_grad;
  for (const auto& [name, parameter, candidate] : fitting) {
    if (is_narrower(candidate->dtype, parameter) && options.keeps_stored_dtype && options.keeps_stored_dtype(name)) {
      parameter.set_data(empty_weight(parameter.sizes(), candidate->dtype));
    }
    candidate->read_into(parameter);
    if (options.filled) options.filled(name);
  }
  return report;
}

}  // namespace

NamedTensors named_parameters(const torch::nn::Module& module, const ParameterFilter& wanted) {
  NamedTensors tensors;
  for (const auto& item : module.named_parameters()) {
    if (!wanted || wanted(item.key(), item.value())) tensors.emplace(item.key(), item.value());
  }
  return tensors;
}

NamedTensors trainable_parameters(const torch::nn::Module& module) {
  return named_parameters(module, [](const std::string&, const at::Tensor& tensor) { return tensor.requires_grad(); });
}

LoadReport load_parameters(torch::nn::Module& module, const NamedTensors& tensors, const LoadOptions& options) {
  Candidates candidates;
  for (const auto& [name, tensor] : tensors) {
    TORCH_CHECK(tensor.defined(), "load_parameters: tensor ", in_quotes(name), " is undefined");
    candidates.emplace(name, Candidate{tensor.sizes().vec(), tensor.scalar_type(),
                                       [&found = tensor](at::Tensor target) { target.copy_(found); }});
  }
  return load(module, candidates, options);
}

LoadReport load_parameters(torch::nn::Module& module, const ModelTensors& tensors, LoadOptions options) {
  if (options.source == LoadOptions{}.source) options.source = tensors.folder().string();
  Candidates candidates;
  for (const auto& name : tensors.names()) {
    const TensorInfo& info = tensors.info(name);
    candidates.emplace(name, Candidate{info.shape, info.dtype, [&tensors, name](at::Tensor target) {
                                         tensors.read_into(std::move(target), name);
                                       }});
  }
  return load(module, candidates, options);
}

}  // namespace blip2
