// Copies saved tensors over a model's or an optimizer's own, all or nothing.
#pragma once

#include <string>

#include "blip2/checkpoint/safetensors.h"

namespace blip2 {

/**
 * Copies `saved` into `own` by name, in place. Throws one UserError "WHAT does not fit the model (...)" that lists
 * missing, misshapen, retyped and unknown names before anything is changed.
 */
void restore_tensors(const NamedTensors& own, const NamedTensors& saved, const std::string& what);

}  // namespace blip2
