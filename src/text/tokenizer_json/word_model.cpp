#include "text/tokenizer_json/word_model.h"

#include "blip2/core/error.h"
#include "core/in_quotes.h"

namespace blip2 {

WordPieceModel::WordPieceModel(const JsonPlace& place, const TokenIds& ids) : ids_(ids.begin(), ids.end()) {
  constexpr std::int64_t kLongestWord = 1'000'000;
  rule_.continuation = place.text("continuing_subword_prefix", "##");
  rule_.max_input_chars_per_word = place.number("max_input_chars_per_word", 0, kLongestWord, 100);
  rule_.unknown_id = id_of_named_token(place, "unk_token", ids);
}

void WordPieceModel::append_ids(const std::string& word, std::vector<std::int64_t>& ids) const {
  append_word_pieces(word, ids_, rule_, ids);
}

WordLevelModel::WordLevelModel(const JsonPlace& place, const TokenIds& ids)
    : file_(place.file()), unknown_(place.text("unk_token", "<unk>")), ids_(ids.begin(), ids.end()) {}

void WordLevelModel::append_ids(const std::string& word, std::vector<std::int64_t>& ids) const {
  auto found = ids_.find(word);
  if (found == ids_.end()) found = ids_.find(unknown_);
  if (found == ids_.end()) {
    throw UserError("'" + file_ + "': the model's vocabulary has neither the word " + in_quotes(word) +
                    " of a text nor its unknown token " + in_quotes(unknown_));
  }
  ids.push_back(found->second);
}

}  // namespace blip2
