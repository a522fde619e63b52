// Where torch's random generators stand, to go on from there: in a resumed run, and where a pass is computed again.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>

namespace blip2 {

/** Torch's generators by device ("cpu", "cuda:0"), uint8. */
using GeneratorState = std::map<std::string, at::Tensor>;

/** The state of the CPU's generator and, where `device` is another one, of that device's. */
GeneratorState generator_state(const at::Device& device);

void restore_generator_state(const GeneratorState& state);

}  // namespace blip2
