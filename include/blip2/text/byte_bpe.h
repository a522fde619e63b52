// GPT-2's byte-level BPE as OPT uses it (Hugging Face 6.2): text is cut into words, words into bytes, bytes are written
// as printable characters and merged by rank. Nothing is unknown and every text comes back byte for byte.
#pragma once

#include <map>
#include <unordered_map>
#include <utility>

#include "blip2/text/tokenizer.h"

namespace blip2 {

/** Tokens with their ids, and the merges in order of their rank. */
struct ByteBpeVocabulary {
  std::map<std::string, std::int64_t> ids;
  std::vector<std::pair<std::string, std::string>> merges;
};

struct ByteBpeOptions {
  /** Token in front of every text (OPT: "</s>"); empty: none. */
  std::string beginning = "</s>";
  std::string padding = "<pad>";
  /** Taken as they are where the text holds them, and skipped by decode: content and id. */
  std::map<std::string, std::int64_t> special_tokens;
};

/** The words that merges stay within: GPT-2's pattern, leftmost alternative first, spaces kept with the word behind. */
std::vector<std::string> byte_bpe_words(const std::string& text);

/** The printable character that stands for a byte, and back. */
const std::vector<std::string>& byte_characters();

class ByteBpeTokenizer final : public Tokenizer {
 public:
  /** Throws UserError naming `source` when ids have gaps or a merge names unknown tokens. */
  ByteBpeTokenizer(ByteBpeVocabulary vocabulary, const ByteBpeOptions& options, const std::string& source);

  std::vector<std::int64_t> encode(const std::string& text, bool add_special_tokens = true) const override;
  std::string decode(const std::vector<std::int64_t>& ids, bool skip_special_tokens = true) const override;
  std::int64_t vocabulary_size() const override { return static_cast<std::int64_t>(tokens_.size()); }
  std::string token(std::int64_t id) const override;
  std::optional<std::int64_t> find(const std::string& token) const override;
  std::int64_t padding_id() const override { return padding_id_; }
  std::int64_t prefix_length() const override { return beginning_id_ ? 1 : 0; }
  std::int64_t suffix_length() const override { return 0; }
  void save(const std::filesystem::path& folder) const override;

 private:
  void encode_word(const std::string& word, std::vector<std::int64_t>& ids) const;

  ByteBpeVocabulary vocabulary_;
  ByteBpeOptions options_;
  std::vector<std::string> tokens_;
  std::unordered_map<std::string, std::int64_t> ids_;
  /** (left id, right id) -> (rank, merged id). */
  std::map<std::pair<std::int64_t, std::int64_t>, std::pair<std::size_t, std::int64_t>> merges_;
  std::optional<std::int64_t> beginning_id_;
  std::int64_t padding_id_ = 0;
};

/** Reads vocab.json and merges.txt. Throws UserError naming file and rule. */
ByteBpeVocabulary read_byte_bpe(const std::filesystem::path& folder);

/** Writes vocab.json, merges.txt and a tokenizer_config.json. Throws WorldError. */
void write_byte_bpe(const ByteBpeVocabulary& vocabulary, const ByteBpeOptions& options,
                    const std::filesystem::path& folder);

}  // namespace blip2
