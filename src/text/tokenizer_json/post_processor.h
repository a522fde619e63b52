// The `post_processor` of a tokenizer.json (Hugging Face 6.1): the special tokens around a single text. What a file
// says of pairs of texts is not read, as nothing here encodes pairs.
#pragma once

#include <cstdint>
#include <vector>

#include "text/tokenizer_json/json_place.h"

namespace blip2 {

struct PostProcessor {
  std::vector<std::int64_t> prefix, suffix;
};

/**
 * TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel (no effect on ids), and Sequence with at most one
 * that adds tokens. Throws UserError for others, and for ids outside the vocabulary.
 */
PostProcessor read_post_processor(const JsonPlace& place, std::int64_t vocabulary_size);

}  // namespace blip2
