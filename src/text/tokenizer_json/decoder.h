// The `decoder` of a tokenizer.json (Hugging Face 6.1): from tokens to text. Every step takes the tokens that the step
// before made and makes others; what the last one makes, put together, is the text.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "text/tokenizer_json/json_place.h"

namespace blip2 {

using Decoder = std::function<std::vector<std::string>(std::vector<std::string>)>;

/**
 * Sequence, ByteLevel, Metaspace, WordPiece, BPEDecoder, Replace, Fuse, Strip, ByteFallback. Throws UserError for
 * others and for parts that are missing or damaged.
 */
Decoder read_decoder(const JsonPlace& place);

}  // namespace blip2
