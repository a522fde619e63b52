// T5's SentencePiece (Hugging Face 6.3) through the sentencepiece library: the model file's pieces, one hundred
// <extra_id_*> behind them in falling order, </s> behind every text. Ids are those of a BLIP-2 folder's tokenizer.json
// with `trailing_space_is_token`, those of Hugging Face's T5 class without. They differ from ours where a letter
// carries several combining marks (the library normalises the longest known sequence of bytes, Hugging Face a grapheme
// cluster or single code points), from the class's at U+0085 (white space only there), and where two cuts have equal
// scores.
#pragma once

#include <map>
#include <memory>

#include "blip2/text/added_tokens.h"
#include "blip2/text/tokenizer.h"

namespace sentencepiece {
class SentencePieceProcessor;
}

namespace blip2 {

struct T5TokenizerOptions {
  /** Number of sentinels; <extra_id_0> has the highest id. */
  std::int64_t extra_ids = 100;
  /**
   * White space at the end of a text or before an added token becomes the token U+2581, as the tokenizer.json of
   * BLIP-2 folders has it; T5's own class drops it.
   */
  bool trailing_space_is_token = false;
  /** Beside <pad>, </s>, <unk> and the sentinels, e.g. {"<image>", 32100}. */
  std::vector<AddedToken> added_tokens;
  /** File name and bytes that `save` writes beside the model; without a tokenizer_config.json it makes one. */
  std::map<std::string, std::string> companions;
};

class T5Tokenizer final : public Tokenizer {
 public:
  /**
   * Reads spiece.model. Throws UserError when it is no model or has no </s>, or when the ids of the added tokens are
   * taken or leave gaps behind the pieces and sentinels.
   */
  explicit T5Tokenizer(const std::filesystem::path& model, const T5TokenizerOptions& options = {});
  ~T5Tokenizer() override;

  std::vector<std::int64_t> encode(const std::string& text, bool add_special_tokens = true) const override;
  std::string decode(const std::vector<std::int64_t>& ids, bool skip_special_tokens = true) const override;
  std::int64_t vocabulary_size() const override { return static_cast<std::int64_t>(tokens_.size()); }
  std::string token(std::int64_t id) const override;
  std::optional<std::int64_t> find(const std::string& token) const override;
  std::int64_t padding_id() const override;
  std::int64_t prefix_length() const override { return 0; }
  std::int64_t suffix_length() const override { return 1; }
  void save(const std::filesystem::path& folder) const override;

 private:
  void add_tokens(const std::string& source);
  void encode_piece(std::string_view text, std::vector<std::int64_t>& ids) const;
  bool ends_in_space(std::string_view text) const;
  std::string make_config() const;

  T5TokenizerOptions options_;
  std::unique_ptr<sentencepiece::SentencePieceProcessor> processor_;
  AddedTokens added_tokens_;
  std::vector<std::string> tokens_;
  std::int64_t end_id_ = 1, space_id_ = 0;
  std::optional<std::int64_t> padding_id_;
};

}  // namespace blip2
