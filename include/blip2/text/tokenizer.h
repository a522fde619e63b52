// Text to token ids and back. The special tokens that a model expects around a text belong to its tokenizer; cutting
// and padding a batch is the same for all.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace blip2 {

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /** Ids of UTF-8 text, with the special tokens that the model expects around it. Invalid bytes become U+FFFD. */
  virtual std::vector<std::int64_t> encode(const std::string& text, bool add_special_tokens = true) const = 0;

  /** Text of ids. Ids outside the vocabulary, to which language models pad their tables, have none. */
  virtual std::string decode(const std::vector<std::int64_t>& ids, bool skip_special_tokens = true) const = 0;

  /** Number of ids, added tokens included. */
  virtual std::int64_t vocabulary_size() const = 0;

  /** The token of an id as the vocabulary spells it. Throws UserError for an id outside the vocabulary. */
  virtual std::string token(std::int64_t id) const = 0;
  virtual std::optional<std::int64_t> find(const std::string& token) const = 0;
  bool has_token(std::int64_t id) const { return id >= 0 && id < vocabulary_size(); }

  virtual std::int64_t padding_id() const = 0;

  /** How many special tokens stand in front of and behind a text; truncation leaves room for them. */
  virtual std::int64_t prefix_length() const = 0;
  virtual std::int64_t suffix_length() const = 0;

  /** Writes the vocabulary files into an existing folder. Throws WorldError. */
  virtual void save(const std::filesystem::path& folder) const = 0;
};

/**
 * Removes the spaces that decoding leaves before punctuation and around the apostrophe of contractions, in Hugging
 * Face's order (its clean_up_tokenization_spaces, Hugging Face 6.5): "isn ' t it ?" becomes "isn't it?".
 */
std::string clean_up_spaces(std::string text);

enum class PaddingSide { kRight, kLeft };

/** Rows of equal length, row-major [rows, columns]; the mask is 1 for tokens and 0 for padding. */
struct TokenBatch {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::vector<std::int64_t> ids;
  std::vector<std::int64_t> attention_mask;
};

struct BatchOptions {
  /** Longest row, special tokens included; 0: no limit. The text's end is cut, the suffix stays. */
  std::int64_t max_length = 0;
  /** Every row as long as max_length instead of the longest row. */
  bool pad_to_max_length = false;
  PaddingSide side = PaddingSide::kRight;
  bool add_special_tokens = true;
};

/**
 * Encodes, cuts and pads. Throws UserError when max_length leaves no room for the special tokens, or when it is 0 and
 * rows shall be padded to it.
 */
TokenBatch encode_batch(const Tokenizer& tokenizer, const std::vector<std::string>& texts, const BatchOptions& options);

}  // namespace blip2
