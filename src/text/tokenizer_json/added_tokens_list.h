// The `added_tokens` of a tokenizer.json (Hugging Face 6.1).
#pragma once

#include <vector>

#include "blip2/text/added_tokens.h"
#include "text/tokenizer_json/json_place.h"

namespace blip2 {

/**
 * `[{"id": 2, "content": "</s>", "special": true, ...}]`; empty where the file has none. Throws UserError for what is
 * not of this form and for contents that are empty or there twice.
 */
std::vector<AddedToken> read_added_token_list(const JsonPlace& root);

}  // namespace blip2
