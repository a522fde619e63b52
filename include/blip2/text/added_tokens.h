// Tokens that are found in the text itself, before the vocabulary's own rules see it ("<image>", "</s>"): the leftmost,
// and of those that start there the longest (Hugging Face 6.1, added-token split). Surprise: a token that is left alone
// because it is no word of its own still hides those that begin within it; and `normalized` is for the caller to mind,
// a tokenizer.json's reader: the tokenizers of vocabulary files match all of them in the raw text.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace blip2 {

struct AddedToken {
  std::string content;
  std::int64_t id = 0;
  /** Left out by decode where special tokens are skipped. */
  bool special = true;
  /** Its normalised content is looked for in the normalised text. */
  bool normalized = false;
  /** White space in front of it or behind it belongs to it. */
  bool lstrip = false, rstrip = false;
  /** Only where no letter, mark, digit or underscore stands beside it. */
  bool single_word = false;
};

class AddedTokens {
 public:
  /** A stretch of text, or an added token that stood there with the white space it takes. */
  struct Piece {
    std::string_view text;
    std::optional<std::int64_t> id;
  };

  AddedTokens() = default;
  /** Of equal contents the first counts. Throws UserError for an empty content. */
  explicit AddedTokens(const std::vector<AddedToken>& tokens);

  /** The text cut at its added tokens, in order; empty stretches are left out. */
  std::vector<Piece> split(std::string_view text) const;

  bool is_special(std::int64_t id) const { return special_.count(id) != 0; }
  /** In the order given. */
  const std::vector<AddedToken>& all() const { return tokens_; }
  const AddedToken* find(std::string_view content) const;

 private:
  const AddedToken* match(std::string_view text) const;

  std::vector<AddedToken> tokens_;
  std::array<std::vector<std::size_t>, 256> by_first_byte_;  // into tokens_, longest first
  std::unordered_map<std::string, std::size_t> by_content_;  // into tokens_
  std::unordered_set<std::int64_t> special_;
};

}  // namespace blip2
