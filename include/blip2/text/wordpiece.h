// BERT's WordPiece (Hugging Face 6.4): clean, split at spaces, punctuation and CJK, strip accents, lower-case, then the
// longest pieces that the vocabulary holds. The Q-Former's text side reads this, with [DEC] added.
#pragma once

#include <map>
#include <unordered_map>

#include "blip2/text/tokenizer.h"

namespace blip2 {

struct WordPieceOptions {
  bool lowercase = true;  // also strips accents
  std::int64_t max_input_chars_per_word = 100;
  /** Appended after the file's last line where the file lacks them. */
  std::vector<std::string> added_tokens = {"[DEC]"};
  /** File name and bytes that `save` writes beside the vocabulary. */
  std::map<std::string, std::string> companions;
};

class WordPieceTokenizer final : public Tokenizer {
 public:
  /**
   * Reads vocab.txt: one token per line, its number is the id. Throws UserError for a file that is missing, empty, over
   * 100 MB or not UTF-8, that repeats a token or lacks one of [PAD] [UNK] [CLS] [SEP].
   */
  explicit WordPieceTokenizer(const std::filesystem::path& vocabulary, const WordPieceOptions& options = {});

  std::vector<std::int64_t> encode(const std::string& text, bool add_special_tokens = true) const override;
  /** Puts no space before . ? ! and commas; contractions stay apart, see clean_up_spaces. */
  std::string decode(const std::vector<std::int64_t>& ids, bool skip_special_tokens = true) const override;
  std::int64_t vocabulary_size() const override { return static_cast<std::int64_t>(tokens_.size()); }
  std::string token(std::int64_t id) const override;
  std::optional<std::int64_t> find(const std::string& token) const override;
  std::int64_t padding_id() const override { return padding_id_; }
  std::int64_t prefix_length() const override { return 1; }
  std::int64_t suffix_length() const override { return 1; }
  /**
   * Writes vocab.txt as it was read, without the added tokens, and the companions: reading it with the same options, or
   * the folder with load_tokenizer, adds them again.
   */
  void save(const std::filesystem::path& folder) const override;

  std::int64_t cls_id() const { return cls_id_; }
  std::int64_t sep_id() const { return sep_id_; }
  /** Id of [DEC]. Throws UserError where the vocabulary has none. */
  std::int64_t decoder_id() const;

 private:
  struct SpecialToken {
    std::string text;
    std::int64_t id;
  };

  void read_vocabulary(const std::filesystem::path& file);
  std::int64_t required(const std::string& token, const std::filesystem::path& file) const;
  /** The longest special token that is written out at this byte of the text; null when none is. */
  const SpecialToken* special_token_at(const std::string& text, std::size_t at) const;
  bool is_special(std::int64_t id) const;

  WordPieceOptions options_;
  std::vector<std::string> tokens_;
  std::unordered_map<std::string, std::int64_t> ids_;
  std::vector<SpecialToken> special_tokens_;
  std::size_t file_size_ = 0;  // tokens that vocab.txt holds; the rest was added
  std::int64_t padding_id_ = 0, unknown_id_ = 0, cls_id_ = 0, sep_id_ = 0;
};

}  // namespace blip2
