#include "blip2/text/byte_bpe.h"

#include <limits>
#include <queue>

#include "blip2/core/error.h"
#include "text/unicode.h"

namespace blip2 {

ByteBpeTokenizer::ByteBpeTokenizer(ByteBpeVocabulary vocabulary, const ByteBpeOptions& options,
                                   const std::string& source)
    : vocabulary_(std::move(vocabulary)), options_(options) {
  auto refuse = [&](const std::string& what) { throw UserError("'" + source + "': " + what); };
  auto all = vocabulary_.ids;
  for (const auto& [content, id] : options_.special_tokens) all.emplace(content, id);
  tokens_.resize(all.size());
  std::vector<bool> used(all.size(), false);
  for (const auto& [token, id] : all) {
    if (id < 0 || id >= static_cast<std::int64_t>(all.size())) {
      refuse("token '" + token + "' has id " + std::to_string(id) + " where ids run from 0 to " +
             std::to_string(all.size() - 1));
    }
    if (used[static_cast<std::size_t>(id)]) refuse("two tokens have the id " + std::to_string(id));
    used[static_cast<std::size_t>(id)] = true;
    tokens_[static_cast<std::size_t>(id)] = token;
    ids_[token] = id;
  }
  auto need = [&](const std::string& token) {
    const auto id = find(token);
    if (!id) refuse("the vocabulary has no token '" + token + "'");
    return id.value_or(0);
  };
  for (const auto& character : byte_characters()) need(character);
  for (std::size_t rank = 0; rank < vocabulary_.merges.size(); ++rank) {
    const auto& [left, right] = vocabulary_.merges[rank];
    merges_.emplace(std::pair(need(left), need(right)), std::pair(rank, need(left + right)));
  }
  if (!options_.beginning.empty()) beginning_id_ = need(options_.beginning);
  padding_id_ = need(options_.padding);
}

std::string ByteBpeTokenizer::token(std::int64_t id) const {
  if (id < 0 || id >= vocabulary_size()) {
    throw UserError("token id " + std::to_string(id) + " lies outside the vocabulary of " +
                    std::to_string(vocabulary_size()));
  }
  return tokens_[static_cast<std::size_t>(id)];
}

std::optional<std::int64_t> ByteBpeTokenizer::find(const std::string& token) const {
  const auto found = ids_.find(token);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

void ByteBpeTokenizer::encode_word(const std::string& word, std::vector<std::int64_t>& ids) const {
  // A doubly linked list of symbols and a heap of mergeable pairs by (rank, position): n log n also for a word of
  // 100,000 characters.
  struct Symbol {
    std::int64_t id;
    std::size_t previous, next;
  };
  constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();
  std::vector<Symbol> symbols;
  for (const char byte : word) {
    const std::size_t i = symbols.size();
    symbols.push_back({ids_.at(byte_characters()[static_cast<unsigned char>(byte)]), i == 0 ? kNone : i - 1, i + 1});
  }
  if (symbols.empty()) return;
  symbols.back().next = kNone;
  using Candidate = std::tuple<std::size_t, std::size_t, std::int64_t, std::int64_t>;  // rank, left place, left, right
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> candidates;
  auto consider = [&](std::size_t left) {
    if (left == kNone || symbols[left].next == kNone) return;
    const std::pair pair(symbols[left].id, symbols[symbols[left].next].id);
    const auto merge = merges_.find(pair);
    if (merge != merges_.end()) candidates.emplace(merge->second.first, left, pair.first, pair.second);
  };
  for (std::size_t i = 0; i < symbols.size(); ++i) consider(i);
  while (!candidates.empty()) {
    const auto [rank, left, left_id, right_id] = candidates.top();
    candidates.pop();
    const std::size_t right = symbols[left].next;
    if (symbols[left].id != left_id || right == kNone || symbols[right].id != right_id) continue;  // merged meanwhile
    symbols[left].id = merges_.at({left_id, right_id}).second;
    symbols[left].next = symbols[right].next;
    if (symbols[right].next != kNone) symbols[symbols[right].next].previous = left;
    symbols[right].id = -1;
    consider(symbols[left].previous);
    consider(left);
  }
  for (std::size_t i = 0; i != kNone; i = symbols[i].next) ids.push_back(symbols[i].id);
}

std::vector<std::int64_t> ByteBpeTokenizer::encode(const std::string& text, bool add_special_tokens) const {
  std::vector<std::int64_t> ids;
  if (add_special_tokens && beginning_id_) ids.push_back(*beginning_id_);
  for (std::size_t start = 0; start <= text.size();) {
    std::size_t at = std::string::npos;
    const std::pair<const std::string, std::int64_t>* hit = nullptr;
    for (const auto& special : options_.special_tokens) {  // leftmost, then longest
      const std::size_t found = text.find(special.first, start);
      if (found == std::string::npos) continue;
      if (found < at || (found == at && special.first.size() > hit->first.size())) {
        at = found;
        hit = &special;
      }
    }
    const std::size_t length = at == std::string::npos ? at : at - start;
    for (const auto& word : byte_bpe_words(text.substr(start, length))) encode_word(word, ids);
    if (hit == nullptr) break;
    ids.push_back(hit->second);
    start = at + hit->first.size();
  }
  return ids;
}

std::string ByteBpeTokenizer::decode(const std::vector<std::int64_t>& ids, bool skip_special_tokens) const {
  static const auto bytes_of = [] {
    std::unordered_map<std::string, char> result;
    for (std::size_t byte = 0; byte < 256; ++byte) result[byte_characters()[byte]] = static_cast<char>(byte);
    return result;
  }();
  std::string bytes;
  for (const std::int64_t id : ids) {
    const std::string piece = token(id);
    if (options_.special_tokens.count(piece) != 0) {
      if (!skip_special_tokens) bytes += piece;
      continue;
    }
    for (const UChar32 c : code_points(piece)) {
      std::string character;
      append_utf8(character, c);
      const auto byte = bytes_of.find(character);
      if (byte != bytes_of.end()) {
        bytes += byte->second;
      } else {
        bytes += character;
      }
    }
  }
  return to_utf8(code_points(bytes));
}

void ByteBpeTokenizer::save(const std::filesystem::path& folder) const {
  write_byte_bpe(vocabulary_, options_, folder);
}

}  // namespace blip2
