// SentencePiece's unigram model as a tokenizer.json describes it (Hugging Face 6.3): of all cuts of a word into pieces
// the one of the greatest sum of scores. Surprise: of equal sums the one found first stays, and unknown characters that
// stand together become one token.
#pragma once

#include <optional>
#include <unordered_map>

#include "text/tokenizer_json/piece_trie.h"
#include "text/tokenizer_json/token_model.h"

namespace blip2 {

class UnigramModel final : public TokenModel {
 public:
  /** Throws UserError for pieces without a finite score, repeated pieces, and an `unk_id` outside the vocabulary. */
  explicit UnigramModel(const JsonPlace& place);

  /** Throws UserError for a character in no piece where the model has no unknown token. */
  void append_ids(const std::string& word, std::vector<std::int64_t>& ids) const override;

  const TokenIds& ids() const { return ids_; }

 private:
  /** The best cut of the text up to here ends with the piece that starts at `start`. */
  struct Node {
    double score = 0;
    std::size_t start = static_cast<std::size_t>(-1);
    std::int64_t id = 0;
  };
  void read_pieces(const JsonPlace& vocabulary);
  std::vector<Node> best_cuts(const std::string& word) const;
  void append_unknown(const std::string& text, std::vector<std::int64_t>& ids) const;
  [[noreturn]] void refuse_unknown(const std::string& text) const;

  std::string file_;
  TokenIds ids_;
  PieceTrie trie_;
  std::vector<double> scores_;
  double unknown_score_ = 0;
  std::optional<std::int64_t> unknown_id_;
  bool byte_fallback_ = false;
};

}  // namespace blip2
