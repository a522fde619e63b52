#include "trace/case_run.h"

#include <ATen/ATen.h>

#include "blip2/core/error.h"

namespace blip2 {

at::Tensor CaseRun::input(const std::string& name) const {
  const at::Tensor tensor = optional_input(name);
  if (!tensor.defined()) throw UserError("the case's inputs.safetensors holds no tensor '" + name + "'");
  return tensor;
}

at::Tensor CaseRun::optional_input(const std::string& name) const {
  const auto found = inputs.find(name);
  if (found == inputs.end()) return {};
  return found->second.is_floating_point() ? found->second.to(dtype()) : found->second;
}

}  // namespace blip2
