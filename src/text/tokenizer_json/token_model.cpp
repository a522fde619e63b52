#include "text/tokenizer_json/token_model.h"

#include "core/in_quotes.h"
#include "text/token_ids.h"
#include "text/tokenizer_json/bpe_model.h"
#include "text/tokenizer_json/unigram_model.h"
#include "text/tokenizer_json/word_model.h"

namespace blip2 {
namespace {

/** Very old files do not name their model's type. */
std::string type_of(const JsonPlace& place) {
  if (place.has("type")) return place.text("type");
  if (place.has("merges")) return "BPE";
  if (place.at("vocab", "the model's tokens").value().is_array()) return "Unigram";
  return place.has("continuing_subword_prefix") || place.has("max_input_chars_per_word") ? "WordPiece" : "WordLevel";
}

}  // namespace

ReadModel read_model(const JsonPlace& place) {
  ReadModel result;
  result.type = type_of(place);
  if (result.type == "Unigram") {
    auto model = std::make_unique<UnigramModel>(place);
    result.ids.insert(model->ids().begin(), model->ids().end());
    result.model = std::move(model);
    return result;
  }
  if (result.type != "BPE" && result.type != "WordPiece" && result.type != "WordLevel") {
    place.at("type", "").refuse("BPE, Unigram, WordPiece or WordLevel");
  }
  const JsonPlace vocabulary = place.at("vocab", "an object from tokens to ids");
  result.ids = read_token_ids(vocabulary.value(), "'" + place.file() + "': " + in_quotes(vocabulary.path()));
  if (result.type == "BPE") {
    result.model = std::make_unique<BpeModel>(place, result.ids);
  } else if (result.type == "WordPiece") {
    result.model = std::make_unique<WordPieceModel>(place, result.ids);
  } else {
    result.model = std::make_unique<WordLevelModel>(place, result.ids);
  }
  return result;
}

std::int64_t id_of_named_token(const JsonPlace& place, const char* key, const TokenIds& ids) {
  const auto found = ids.find(place.text(key));
  if (found == ids.end()) place.at(key, "").refuse("a token of the model's vocabulary");
  return found->second;
}

std::string byte_fallback_token(unsigned char byte) {
  constexpr const char* kDigits = "0123456789ABCDEF";
  return std::string("<0x") + kDigits[byte >> 4] + kDigits[byte & 15] + ">";
}

}  // namespace blip2
