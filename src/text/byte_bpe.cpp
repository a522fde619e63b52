#include "blip2/text/byte_bpe.h"

#include <functional>
#include <limits>
#include <queue>
#include <tuple>

#include "blip2/core/error.h"
#include "core/in_quotes.h"
#include "text/unicode.h"

namespace blip2 {
namespace {

constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();

std::uint64_t pair_key(std::int64_t left, std::int64_t right) {
  return static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint64_t>(right);
}

/** One symbol of a word, linked to its neighbours; id -1 was merged away. */
struct Symbol {
  std::int64_t id;
  std::size_t previous, next;
};

/** A pair that may be merged: the lowest rank first, then the leftmost. */
struct Candidate {
  std::size_t rank, position;
  std::int64_t left, right, merged;
  bool operator>(const Candidate& other) const {
    return std::tie(rank, position) > std::tie(other.rank, other.position);
  }
};

}  // namespace

ByteBpeTokenizer::ByteBpeTokenizer(ByteBpeVocabulary vocabulary, const ByteBpeOptions& options,
                                   const std::string& source)
    : vocabulary_(std::move(vocabulary)), options_(options) {
  read_ids(source);
  read_merges(source);
}

void ByteBpeTokenizer::read_ids(const std::string& source) {
  auto refuse = [&](const std::string& what) { throw UserError("'" + source + "': " + what); };
  auto all = vocabulary_.ids;
  std::vector<AddedToken> added = options_.added_tokens;
  for (auto& token : added) token.id = all.emplace(token.content, token.id).first->second;
  tokens_.resize(all.size());
  std::vector<bool> used(all.size(), false);
  for (const auto& [token, id] : all) {
    if (id < 0 || id >= static_cast<std::int64_t>(all.size())) {
      refuse("token " + in_quotes(token) + " has the id " + std::to_string(id) + ", expected the ids 0 to " +
             std::to_string(all.size() - 1) + " without gaps");
    }
    const auto place = static_cast<std::size_t>(id);
    if (used[place]) {
      refuse("the tokens " + in_quotes(tokens_[place]) + " and " + in_quotes(token) + " have the same id " +
             std::to_string(id));
    }
    used[place] = true;
    tokens_[place] = token;
    ids_[token] = id;
  }
  auto need = [&](const std::string& token) {
    const auto id = find(token);
    if (!id) refuse("the vocabulary has no token " + in_quotes(token) + ", which a byte-level BPE of this kind needs");
    return id.value_or(0);
  };
  for (std::size_t byte = 0; byte < 256; ++byte) byte_ids_[byte] = need(byte_characters()[byte]);
  if (!options_.beginning.empty()) beginning_id_ = need(options_.beginning);
  if (!options_.padding.empty()) padding_id_ = need(options_.padding);
  if (beginning_id_) added.push_back({options_.beginning, *beginning_id_});
  if (padding_id_) added.push_back({options_.padding, *padding_id_});
  added_tokens_ = AddedTokens(added);
}

void ByteBpeTokenizer::read_merges(const std::string& source) {
  for (std::size_t rank = 0; rank < vocabulary_.merges.size(); ++rank) {
    const auto& [left, right] = vocabulary_.merges[rank];
    auto need = [&](const std::string& token) {
      const auto id = find(token);
      if (!id) {
        throw UserError("'" + source + "': merge " + std::to_string(rank + 1) + " needs the token " + in_quotes(token) +
                        ", which the vocabulary lacks");
      }
      return *id;
    };
    merges_.insert_or_assign(pair_key(need(left), need(right)), Merge{rank, need(left + right)});
  }
}

std::string ByteBpeTokenizer::token(std::int64_t id) const {
  if (!has_token(id)) {
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

std::int64_t ByteBpeTokenizer::padding_id() const {
  if (!padding_id_) throw UserError("the tokenizer has no padding token: name one as pad_token to make batches");
  return *padding_id_;
}

const ByteBpeTokenizer::Merge* ByteBpeTokenizer::find_merge(std::int64_t left, std::int64_t right) const {
  const auto found = merges_.find(pair_key(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

void ByteBpeTokenizer::encode_word(const std::string& word, std::vector<std::int64_t>& ids) const {
  // A linked list of symbols and a heap of mergeable pairs: n log n also for a word of 100,000 characters.
  std::vector<Symbol> symbols;
  symbols.reserve(word.size());
  for (std::size_t i = 0; i < word.size(); ++i) {
    symbols.push_back(
        {byte_ids_[static_cast<unsigned char>(word[i])], i == 0 ? kNone : i - 1, i + 1 == word.size() ? kNone : i + 1});
  }
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  auto offer = [&](std::size_t position) {
    if (position == kNone || symbols[position].next == kNone) return;
    const std::int64_t left = symbols[position].id, right = symbols[symbols[position].next].id;
    if (const Merge* merge = find_merge(left, right)) queue.push({merge->rank, position, left, right, merge->id});
  };
  for (std::size_t i = 0; i < symbols.size(); ++i) offer(i);
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& left = symbols[best.position];
    if (left.id != best.left || left.next == kNone) continue;  // merged meanwhile
    Symbol& right = symbols[left.next];
    if (right.id != best.right) continue;
    left.id = best.merged;
    left.next = right.next;
    right.id = -1;
    if (left.next != kNone) symbols[left.next].previous = best.position;
    offer(left.previous);
    offer(best.position);
  }
  for (std::size_t i = symbols.empty() ? kNone : 0; i != kNone; i = symbols[i].next) ids.push_back(symbols[i].id);
}

std::vector<std::int64_t> ByteBpeTokenizer::encode(const std::string& text, bool add_special_tokens) const {
  std::vector<std::int64_t> ids;
  if (add_special_tokens && beginning_id_) ids.push_back(*beginning_id_);
  const std::string valid = to_utf8(code_points(text));
  for (const auto& piece : added_tokens_.split(valid)) {
    if (piece.id) {
      ids.push_back(*piece.id);
      continue;
    }
    const bool space = options_.add_prefix_space && piece.text.front() != ' ';
    for (const auto& word : byte_bpe_words((space ? " " : "") + std::string(piece.text))) encode_word(word, ids);
  }
  return ids;
}

std::string ByteBpeTokenizer::decode(const std::vector<std::int64_t>& ids, bool skip_special_tokens) const {
  std::string bytes;
  for (const std::int64_t id : ids) {
    if (!has_token(id)) continue;
    const std::string piece = token(id);
    if (!skip_special_tokens || !added_tokens_.is_special(id)) bytes += byte_bpe_token_bytes(piece);
  }
  return to_utf8(code_points(bytes));
}

void ByteBpeTokenizer::save(const std::filesystem::path& folder) const {
  ByteBpeOptions options = options_;
  options.added_tokens = added_tokens_.all();
  write_byte_bpe(vocabulary_, folder, options);
}

}  // namespace blip2
