// The parts of a tokenizer.json put together as a tokenizer (Hugging Face 6.1): added tokens are cut out of the raw
// text and then, those that say so, out of the normalised rest; what is left is cut into words and given to the model.
#pragma once

#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "blip2/text/added_tokens.h"
#include "blip2/text/tokenizer_json.h"
#include "text/tokenizer_json/decoder.h"
#include "text/tokenizer_json/normalizer.h"
#include "text/tokenizer_json/post_processor.h"
#include "text/tokenizer_json/pre_tokenizer.h"
#include "text/tokenizer_json/token_model.h"

namespace blip2 {

class JsonTokenizer final : public Tokenizer {
 public:
  /** `bytes` are those that `root` was parsed from; `save` writes them. Throws UserError naming `root`'s file. */
  JsonTokenizer(const JsonPlace& root, std::string bytes, const TokenizerJsonOptions& options);

  std::vector<std::int64_t> encode(const std::string& text, bool add_special_tokens = true) const override;
  std::string decode(const std::vector<std::int64_t>& ids, bool skip_special_tokens = true) const override;
  std::int64_t vocabulary_size() const override { return static_cast<std::int64_t>(tokens_.size()); }
  std::string token(std::int64_t id) const override;
  std::optional<std::int64_t> find(const std::string& token) const override;
  std::int64_t padding_id() const override;
  std::int64_t prefix_length() const override { return static_cast<std::int64_t>(processor_.prefix.size()); }
  std::int64_t suffix_length() const override { return static_cast<std::int64_t>(processor_.suffix.size()); }
  void save(const std::filesystem::path& folder) const override;

 private:
  /** All added tokens with the ids that they get, of which `ids` gains those that are new. */
  std::vector<AddedToken> resolve_added_tokens(const JsonPlace& root, bool is_wordpiece, TokenIds& ids) const;
  void read_added_tokens(const std::vector<AddedToken>& tokens);
  void read_padding(const JsonPlace& root);
  void encode_piece(std::string text, bool begins_text, std::vector<std::int64_t>& ids) const;

  TokenizerJsonOptions options_;
  std::string bytes_;
  std::vector<std::string> tokens_;
  std::unordered_map<std::string, std::int64_t> ids_;
  AddedTokens raw_tokens_, normalized_tokens_;
  std::unordered_set<std::int64_t> special_;
  Normalizer normalizer_;  // the next four may be empty
  PreTokenizer pre_tokenizer_;
  PostProcessor processor_;
  Decoder decoder_;
  std::unique_ptr<const TokenModel> model_;
  std::optional<std::int64_t> padding_id_;
};

}  // namespace blip2
