// What Metaspace writes for a space, as it stands in a tokenizer.json: both its pre-tokenizer and its decoder have it.
// Surprise: files of before 2024 say `add_prefix_space` where newer ones have `prepend_scheme`.
#pragma once

#include <string>

#include "text/tokenizer_json/json_place.h"

namespace blip2 {

struct Metaspace {
  std::string replacement;
  bool prepend_always = true, prepend_first = false, split = true;
};

/** Throws UserError for a replacement of other than one character and for an unknown scheme. */
Metaspace read_metaspace(const JsonPlace& place);

}  // namespace blip2
