// What WeightFormat means for reading a checkpoint: every matrix takes its format as soon as it is read, so that never
// more than one is in memory twice.
#pragma once

#include "blip2/checkpoint/module_state.h"
#include "blip2/models/weight_format.h"

namespace blip2 {

/**
 * Makes `options` keep the matrices of `module` in the format: those below the given prefixes of its names. Of a format
 * that is not float32, no parameter of the module takes gradients any more.
 */
void keep_matrices(torch::nn::Module& module, WeightFormat format, const std::vector<std::string>& prefixes,
                   LoadOptions& options);

}  // namespace blip2
