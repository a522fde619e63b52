// The normaliser that SentencePiece compiled into a table (Hugging Face 6.3): a double-array trie from characters to
// replacements. Surprise: it works on grapheme clusters. One of up to five bytes is looked up as a whole, and then the
// shortest key that it begins with replaces all of it; of others each code point is looked up alone.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer_json/json_place.h"

namespace blip2 {

class PrecompiledCharsmap {
 public:
  /** Of `{"precompiled_charsmap": "<base64>"}`. Throws UserError for what is no base64 or no such table. */
  explicit PrecompiledCharsmap(const JsonPlace& normalizer);

  /** Throws UserError when a step through the table leads out of it. */
  std::string apply(const std::string& text) const;

 private:
  void read(const std::string& bytes);
  std::uint32_t unit(std::size_t at) const;
  /** The replacement of the shortest key that the chunk begins with. */
  std::optional<std::string_view> find(std::string_view chunk) const;
  void append_chunk(std::string_view chunk, std::string& result) const;

  JsonPlace place_;
  std::vector<std::uint32_t> units_;
  std::string replacements_;  // each ends with a zero byte
  std::array<std::string, 128> ascii_;
};

}  // namespace blip2
