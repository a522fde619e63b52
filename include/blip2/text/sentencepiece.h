// T5's SentencePiece (Hugging Face 6.3) through the sentencepiece library: the model file's pieces, one hundred
// <extra_id_*> behind them in falling order, </s> behind every text.
#pragma once

#include <map>
#include <memory>

#include "blip2/text/tokenizer.h"

namespace sentencepiece {
class SentencePieceProcessor;
}

namespace blip2 {

class T5Tokenizer final : public Tokenizer {
 public:
  /** `added_tokens`: content and id of tokens beside the file's and the <extra_id_*>. Throws UserError. */
  explicit T5Tokenizer(const std::filesystem::path& model,
                       const std::map<std::string, std::int64_t>& added_tokens = {});
  ~T5Tokenizer() override;

  std::vector<std::int64_t> encode(const std::string& text, bool add_special_tokens = true) const override;
  std::string decode(const std::vector<std::int64_t>& ids, bool skip_special_tokens = true) const override;
  std::int64_t vocabulary_size() const override { return size_; }
  std::string token(std::int64_t id) const override;
  std::optional<std::int64_t> find(const std::string& token) const override;
  std::int64_t padding_id() const override { return padding_id_; }
  std::int64_t prefix_length() const override { return 0; }
  std::int64_t suffix_length() const override { return 1; }
  void save(const std::filesystem::path& folder) const override;

 private:
  std::unique_ptr<sentencepiece::SentencePieceProcessor> processor_;
  std::map<std::string, std::int64_t> special_tokens_;  // matched in the text before it is cut into pieces
  std::map<std::int64_t, std::string> special_names_;
  std::int64_t size_ = 0, padding_id_ = 0, end_id_ = 1;
};

}  // namespace blip2
