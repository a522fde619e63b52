// The `model` of a tokenizer.json (Hugging Face 6.1): a vocabulary, and the rule that finds its tokens in a word.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "text/tokenizer_json/json_place.h"

namespace blip2 {

class TokenModel {
 public:
  virtual ~TokenModel() = default;
  /** Appends the ids of one word, which is not empty. Throws UserError for what no token stands for. */
  virtual void append_ids(const std::string& word, std::vector<std::int64_t>& ids) const = 0;
};

/** Tokens with their ids, which may leave gaps for added tokens. */
using TokenIds = std::map<std::string, std::int64_t>;

struct ReadModel {
  /** "BPE", "Unigram", "WordPiece" or "WordLevel". */
  std::string type;
  TokenIds ids;
  std::unique_ptr<const TokenModel> model;
};

/**
 * BPE, Unigram, WordPiece, WordLevel; a file without the type is told by its fields. Throws UserError for others and
 * for parts that are missing, damaged or contradict each other.
 */
ReadModel read_model(const JsonPlace& place);

/** The id of the token that the key names, such as "unk_token". Throws UserError where the vocabulary lacks it. */
std::int64_t id_of_named_token(const JsonPlace& place, const char* key, const TokenIds& ids);

/** The token "<0x0A>" that stands for a byte where a model falls back to bytes. */
std::string byte_fallback_token(unsigned char byte);

}  // namespace blip2
