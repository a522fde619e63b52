// A reference case while it runs: what it asks, and what has been computed for it so far.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "blip2/checkpoint/safetensors.h"

namespace blip2 {

struct CaseRun {
  std::filesystem::path folder;
  bool double_precision = false;
  NamedTensors inputs;
  nlohmann::json asked;  // expected.json, of which only the questions are read
  NamedTensors trace;    // becomes actual.safetensors
  nlohmann::json answers = nlohmann::json::object();

  at::ScalarType dtype() const { return double_precision ? at::kDouble : at::kFloat; }
  bool has_input(const std::string& name) const { return inputs.count(name) != 0; }
  /** Floating tensors in the precision of the run. Throws UserError where the case has none of that name. */
  at::Tensor input(const std::string& name) const;
  /** The same, or an undefined tensor. */
  at::Tensor optional_input(const std::string& name) const;
};

}  // namespace blip2
