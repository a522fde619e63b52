#include "blip2/core/generator_state.h"

#include <ATen/Context.h>

namespace blip2 {

GeneratorState generator_state(const at::Device& device) {
  GeneratorState state = {{"cpu", at::globalContext().defaultGenerator(at::kCPU).get_state()}};
  if (!device.is_cpu()) state[device.str()] = at::globalContext().defaultGenerator(device).get_state();
  return state;
}

void restore_generator_state(const GeneratorState& state) {
  for (const auto& [device, tensor] : state) {
    auto generator = at::globalContext().defaultGenerator(at::Device(device));
    generator.set_state(tensor);
  }
}

}  // namespace blip2
