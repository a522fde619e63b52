#include "text/tokenizer_json/bpe_model.h"

#include "core/in_quotes.h"
#include "text/unicode.h"

namespace blip2 {
namespace {

using Json = nlohmann::json;

/** "a b", or ["a", "b"] in files of late 2024 and after. */
std::optional<std::pair<std::string, std::string>> pair_of(const Json& merge) {
  if (merge.is_array()) {
    if (merge.size() != 2 || !merge[0].is_string() || !merge[1].is_string()) return std::nullopt;
    return std::pair(merge[0].get<std::string>(), merge[1].get<std::string>());
  }
  if (!merge.is_string()) return std::nullopt;
  const auto& text = merge.get_ref<const std::string&>();
  const auto space = text.find(' ');
  if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) return std::nullopt;
  return std::pair(text.substr(0, space), text.substr(space + 1));
}

}  // namespace

BpeModel::BpeModel(const JsonPlace& place, const TokenIds& ids) : ids_(ids.begin(), ids.end()) {
  continuing_prefix_ = place.text("continuing_subword_prefix", "");
  end_suffix_ = place.text("end_of_word_suffix", "");
  if (!place.text("unk_token", "").empty()) unknown_id_ = id_of_named_token(place, "unk_token", ids);
  fuse_unknown_ = place.flag("fuse_unk", false);
  byte_fallback_ = place.flag("byte_fallback", false);
  ignore_merges_ = place.flag("ignore_merges", false);
  if (place.has("dropout") && place.at("dropout", "").value() != 0.0) {
    place.at("dropout", "").refuse("null or 0, as merges left out at random give other ids every time");
  }
  for (UChar32 c = 0; c < static_cast<UChar32>(short_ids_.size()); ++c) {
    short_ids_[static_cast<std::size_t>(c)] = find(to_utf8({c})).value_or(-1);
  }
  read_merges(place.at("merges", "a list of merges"));
}

void BpeModel::read_merges(const JsonPlace& merges) {
  if (!merges.value().is_array()) merges.refuse("a list of merges");
  for (std::size_t i = 0; i < merges.value().size(); ++i) {
    const Json& merge = merges.value()[i];
    if (i == 0 && merge.is_string() && merge.get_ref<const std::string&>().starts_with("#version")) continue;
    const auto tokens = pair_of(merge);
    if (!tokens) merges.item(i).refuse(R"(two tokens, as "a b" or ["a", "b"])");
    auto need = [&](const std::string& token) {
      const auto id = find(token);
      if (!id) merges.item(i).complain("needs the token " + in_quotes(token) + ", which the model's vocabulary lacks");
      return *id;
    };
    const auto& [left, right] = *tokens;
    if (right.size() < continuing_prefix_.size()) {
      merges.item(i).complain("has the right token " + in_quotes(right) + ", expected one that begins with " +
                              in_quotes(continuing_prefix_));
    }
    const std::int64_t left_id = need(left), right_id = need(right);
    merges_.add(left_id, right_id, need(left + right.substr(continuing_prefix_.size())));
  }
}

std::optional<std::int64_t> BpeModel::find(const std::string& token) const {
  const auto found = ids_.find(token);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

std::optional<std::int64_t> BpeModel::find_character(std::string_view character, bool first, bool last) const {
  const bool marked = (!first && !continuing_prefix_.empty()) || (last && !end_suffix_.empty());
  if (!marked && character.size() <= 2) {
    std::size_t at = 0;
    UChar32 c;
    U8_NEXT_OR_FFFD(character.data(), at, character.size(), c);
    const std::int64_t id = short_ids_[static_cast<std::size_t>(c)];
    return id < 0 ? std::nullopt : std::optional(id);
  }
  return find((first ? "" : continuing_prefix_) + std::string(character) + (last ? end_suffix_ : ""));
}

bool BpeModel::append_bytes(const std::string& token, std::vector<std::int64_t>& symbols) const {
  const std::size_t length = symbols.size();
  for (const char byte : token) {
    const auto id = find(byte_fallback_token(static_cast<unsigned char>(byte)));
    if (!id) {
      symbols.resize(length);
      return false;
    }
    symbols.push_back(*id);
  }
  return true;
}

void BpeModel::append_ids(const std::string& word, std::vector<std::int64_t>& ids) const {
  if (ignore_merges_) {
    if (const auto whole = find(word)) {
      ids.push_back(*whole);
      return;
    }
  }
  std::vector<std::int64_t> symbols;
  symbols.reserve(word.size());
  bool unknown_waits = false;  // so that the next one may join it
  auto finish_unknown = [&] {
    if (unknown_waits) symbols.push_back(*unknown_id_);
    unknown_waits = false;
  };
  for (std::size_t at = 0; at < word.size();) {
    const std::size_t begin = at;
    U8_FWD_1(word.data(), at, word.size());
    const bool first = begin == 0, last = at == word.size();
    const std::string_view character = std::string_view(word).substr(begin, at - begin);
    if (const auto id = find_character(character, first, last)) {
      finish_unknown();
      symbols.push_back(*id);
      continue;
    }
    const bool in_bytes =
        byte_fallback_ &&
        append_bytes((first ? "" : continuing_prefix_) + std::string(character) + (last ? end_suffix_ : ""), symbols);
    if (in_bytes || !unknown_id_) continue;
    if (!fuse_unknown_) finish_unknown();
    unknown_waits = true;
  }
  finish_unknown();
  merges_.apply(symbols);
  ids.insert(ids.end(), symbols.begin(), symbols.end());
}

}  // namespace blip2
