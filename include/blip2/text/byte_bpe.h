// GPT-2's byte-level BPE as OPT uses it (Hugging Face 6.2): text is cut into words, words into bytes, bytes are written
// as printable characters and merged by rank. Nothing is unknown and every text comes back byte for byte. Surprise: OPT
// begins a text with "</s>" and ends it with nothing; BLIP-2 ends captions with a newline, U+010A in the vocabulary.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <unordered_map>
#include <utility>

#include "blip2/text/added_tokens.h"
#include "blip2/text/tokenizer.h"

namespace blip2 {

class BpeMerges;

/** Tokens with their ids, and the merges in order of their rank. */
struct ByteBpeVocabulary {
  std::map<std::string, std::int64_t> ids;
  std::vector<std::pair<std::string, std::string>> merges;
};

/** The defaults are OPT's; GPT-2 itself begins with nothing and has no padding. */
struct ByteBpeOptions {
  /** Token in front of every text; empty: none. */
  std::string beginning = "</s>";
  /** Empty: padding_id() is refused. */
  std::string padding = "<pad>";
  /** A stretch of text that does not begin with a space gets one. */
  bool add_prefix_space = false;
  /** Beside the two above, e.g. {"<image>", 50265}; an id counts only where the vocabulary lacks the content. */
  std::vector<AddedToken> added_tokens;
  /** File name and bytes that `save` writes beside the vocabulary; without a tokenizer_config.json it makes one. */
  std::map<std::string, std::string> companions;
};

/**
 * The words that merges stay within: GPT-2's pattern, leftmost alternative first, a space kept with the word behind.
 * Together they are the text, where invalid UTF-8 became U+FFFD.
 */
std::vector<std::string> byte_bpe_words(const std::string& text);

/** The printable characters that stand for the 256 bytes. */
const std::vector<std::string>& byte_characters();

/** The bytes that a token's characters stand for; a token with another character stands for itself. */
std::string byte_bpe_token_bytes(const std::string& token);

class ByteBpeTokenizer final : public Tokenizer {
 public:
  /**
   * Throws UserError naming `source` when ids have gaps, are negative or double, when a byte, the beginning or the
   * padding token is missing, or when a merge needs a token that the vocabulary lacks.
   */
  ByteBpeTokenizer(ByteBpeVocabulary vocabulary, const ByteBpeOptions& options, const std::string& source);

  std::vector<std::int64_t> encode(const std::string& text, bool add_special_tokens = true) const override;
  std::string decode(const std::vector<std::int64_t>& ids, bool skip_special_tokens = true) const override;
  std::int64_t vocabulary_size() const override { return static_cast<std::int64_t>(tokens_.size()); }
  std::string token(std::int64_t id) const override;
  std::optional<std::int64_t> find(const std::string& token) const override;
  std::int64_t padding_id() const override;
  std::int64_t prefix_length() const override { return beginning_id_ ? 1 : 0; }
  std::int64_t suffix_length() const override { return 0; }
  void save(const std::filesystem::path& folder) const override;

 private:
  void read_ids(const std::string& source);
  void read_merges(const std::string& source);
  void encode_word(const std::string& word, std::vector<std::int64_t>& ids) const;

  ByteBpeVocabulary vocabulary_;
  ByteBpeOptions options_;
  AddedTokens added_tokens_;
  std::vector<std::string> tokens_;
  std::unordered_map<std::string, std::int64_t> ids_;
  std::array<std::int64_t, 256> byte_ids_{};
  std::shared_ptr<const BpeMerges> merges_;
  std::optional<std::int64_t> beginning_id_, padding_id_;
};

/** Reads vocab.json and merges.txt. Throws UserError naming file and rule. */
ByteBpeVocabulary read_byte_bpe(const std::filesystem::path& folder);

/**
 * Writes vocab.json, merges.txt and the companions, each atomically; the ids must be 0, 1, ... Without a companion
 * tokenizer_config.json one is made from the options. Throws WorldError.
 */
void write_byte_bpe(const ByteBpeVocabulary& vocabulary, const std::filesystem::path& folder,
                    const ByteBpeOptions& options = {});

}  // namespace blip2
