// Optimiser, random and loader state: named tensors and one JSON object in a single safetensors file, so that any
// safetensors reader can look into it. The JSON is the metadata string "state".
#pragma once

#include <nlohmann/json.hpp>

#include "blip2/checkpoint/safetensors.h"

namespace blip2 {

struct State {
  NamedTensors tensors;
  nlohmann::json values;  // an object
};

/**
 * Writes tensors and an object of numbers and strings, atomically. Doubles come back bit for bit; JSON has no NaN or
 * infinity, so a value that is not finite is refused (TORCH_CHECK). Throws as save_safetensors does.
 */
void save_state(const std::filesystem::path& path, const NamedTensors& tensors, const nlohmann::json& values);

/** Reads what save_state wrote. Throws UserError for a file that is missing, damaged or not a state file. */
State load_state(const std::filesystem::path& path);

}  // namespace blip2
