// The one place that knows which kinds of language models there are.
#pragma once

#include "blip2/core/error.h"
#include "blip2/lm/language_model_options.h"

namespace blip2 {

/** Calls `visit` with the options of the kind that `model_type` names. Throws UserError for another. */
template <typename Options, typename Visit>
auto visit_kind(Options& options, Visit visit) {
  if (options.model_type == "opt") return visit(options.opt);
  if (options.model_type == "t5") return visit(options.t5);
  throw UserError("text_config: unknown model_type '" + options.model_type + "', expected opt or t5");
}

}  // namespace blip2
