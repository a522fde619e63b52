// The `pre_tokenizer` of a tokenizer.json (Hugging Face 6.1): cuts a normalised text into the words within which its
// model looks for tokens.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "text/tokenizer_json/json_place.h"

namespace blip2 {

struct PreToken {
  std::string text;
  /**
   * Whether the whole text begins with it; what `"prepend_scheme": "first"` asks for. The reference looks at the text
   * before it was normalised and so says no where the normaliser dropped the text's first character.
   */
  bool begins_text = false;
};

using PreTokenizer = std::function<std::vector<PreToken>(std::vector<PreToken>)>;

/**
 * Sequence, ByteLevel, Metaspace, WhitespaceSplit, Whitespace, BertPreTokenizer, Split, Punctuation, Digits. Throws
 * UserError for others and for parts that are missing or damaged.
 */
PreTokenizer read_pre_tokenizer(const JsonPlace& place);

}  // namespace blip2
