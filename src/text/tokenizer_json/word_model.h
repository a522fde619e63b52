// The two models of a tokenizer.json that look words up: WordPiece cuts them into the longest pieces that the
// vocabulary holds, WordLevel knows them as a whole or not at all (Hugging Face 6.1, 6.4).
#pragma once

#include <optional>
#include <unordered_map>

#include "text/tokenizer_json/token_model.h"
#include "text/word_pieces.h"

namespace blip2 {

class WordPieceModel final : public TokenModel {
 public:
  /** Throws UserError where the vocabulary lacks the unknown token. */
  WordPieceModel(const JsonPlace& place, const TokenIds& ids);
  void append_ids(const std::string& word, std::vector<std::int64_t>& ids) const override;

 private:
  std::unordered_map<std::string, std::int64_t> ids_;
  WordPieceRule rule_;
};

class WordLevelModel final : public TokenModel {
 public:
  WordLevelModel(const JsonPlace& place, const TokenIds& ids);
  /** Throws UserError for an unknown word where the vocabulary lacks the unknown token. */
  void append_ids(const std::string& word, std::vector<std::int64_t>& ids) const override;

 private:
  std::string file_, unknown_;
  std::unordered_map<std::string, std::int64_t> ids_;
};

}  // namespace blip2
