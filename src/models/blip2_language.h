// What BLIP-2 does otherwise than the language model's own folder says.
#pragma once

#include "blip2/lm/language_model_options.h"
#include "blip2/text/tokenizer.h"

namespace blip2 {

inline void adapt_to_blip2(LanguageModelOptions& options, const Tokenizer& tokenizer) {
  // OPT ends an answer at the newline that captions are trained with (LAVIS 4.2).
  const std::vector<std::int64_t> newline = tokenizer.encode("\n", /*add_special_tokens=*/false);
  if (options.model_type == "opt" && newline.size() == 1) options.opt.eos_token_id = newline.front();
  // FlanT5: the exact GELU in place of the tanh form (LAVIS 4.3).
  if (options.t5.is_gated_act && options.t5.dense_act_fn == "gelu_new") options.t5.dense_act_fn = "gelu";
}

}  // namespace blip2
