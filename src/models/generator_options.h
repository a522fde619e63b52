// What a model of stage 2 checks beside its parts.
#pragma once

#include "blip2/models/blip2_options.h"

namespace blip2 {

/** resolve() of the parts that both stages have, the language model's options, and the placeholder's id. */
void resolve(Blip2GeneratorOptions& options);

}  // namespace blip2
