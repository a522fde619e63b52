// The `normalizer` of a tokenizer.json (Hugging Face 6.1): what happens to a text before it is cut into words.
#pragma once

#include <functional>
#include <string>

#include "text/tokenizer_json/json_place.h"

namespace blip2 {

/** UTF-8 in, UTF-8 out. Throws UserError when the text gets longer than kLongestText. */
using Normalizer = std::function<std::string(const std::string&)>;

/**
 * Sequence, NFC, NFD, NFKC, NFKD, Lowercase, Strip, StripAccents, Replace, Prepend, Precompiled, BertNormalizer. Throws
 * UserError for others and for parts that are missing or damaged.
 */
Normalizer read_normalizer(const JsonPlace& place);

}  // namespace blip2
