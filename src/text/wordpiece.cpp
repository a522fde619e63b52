#include "blip2/text/wordpiece.h"

#include <algorithm>
#include <string_view>

#include "blip2/core/atomic_file.h"
#include "blip2/core/error.h"
#include "blip2/core/read_file.h"
#include "text/basic_words.h"
#include "text/unicode.h"
#include "text/word_pieces.h"

namespace blip2 {
namespace {

constexpr std::uint64_t kMaxVocabularyBytes = 100'000'000;
const std::vector<std::string> kSpecialTokens = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};

}  // namespace

WordPieceTokenizer::WordPieceTokenizer(const std::filesystem::path& vocabulary, const WordPieceOptions& options)
    : options_(options) {
  read_vocabulary(vocabulary);
  file_size_ = tokens_.size();
  padding_id_ = required("[PAD]", vocabulary);
  unknown_id_ = required("[UNK]", vocabulary);
  cls_id_ = required("[CLS]", vocabulary);
  sep_id_ = required("[SEP]", vocabulary);
  for (const auto& token : options_.added_tokens) {
    if (token.empty()) throw UserError("an added token of a WordPiece vocabulary must not be empty");
    if (ids_.emplace(token, vocabulary_size()).second) tokens_.push_back(token);
  }
  std::vector<std::string> special = kSpecialTokens;
  special.insert(special.end(), options_.added_tokens.begin(), options_.added_tokens.end());
  for (const auto& token : special) {
    if (const auto id = find(token)) special_tokens_.push_back({token, *id});
  }
}

void WordPieceTokenizer::read_vocabulary(const std::filesystem::path& file) {
  const auto bytes = read_file(file, kMaxVocabularyBytes);
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = std::min(text.find('\n', start), text.size());
    std::string line(text.substr(start, end - start));
    if (!line.empty() && line.back() == '\r') line.pop_back();
    const std::string place = "'" + file.string() + "': line " + std::to_string(tokens_.size() + 1);
    if (to_utf8(code_points(line)) != line) throw UserError(place + " is not UTF-8, as a vocabulary must be");
    const auto [earlier, is_new] = ids_.emplace(line, vocabulary_size());
    if (!is_new) throw UserError(place + " repeats the token of line " + std::to_string(earlier->second + 1));
    tokens_.push_back(std::move(line));
    start = end + 1;
  }
  if (tokens_.empty()) throw UserError("'" + file.string() + "' is empty: a WordPiece vocabulary has a token per line");
}

std::int64_t WordPieceTokenizer::required(const std::string& token, const std::filesystem::path& file) const {
  const auto id = find(token);
  if (!id) {
    throw UserError("'" + file.string() + "': a WordPiece vocabulary needs the token " + token +
                    ", which no line holds");
  }
  return *id;
}

std::int64_t WordPieceTokenizer::decoder_id() const {
  const auto id = find("[DEC]");
  if (!id) throw UserError("the vocabulary has no token [DEC], which starts a generated text");
  return *id;
}

std::optional<std::int64_t> WordPieceTokenizer::find(const std::string& token) const {
  const auto found = ids_.find(token);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

std::string WordPieceTokenizer::token(std::int64_t id) const {
  if (!has_token(id)) {
    throw UserError("token id " + std::to_string(id) + " lies outside the vocabulary of " +
                    std::to_string(vocabulary_size()));
  }
  return tokens_[static_cast<std::size_t>(id)];
}

bool WordPieceTokenizer::is_special(std::int64_t id) const {
  return std::any_of(special_tokens_.begin(), special_tokens_.end(), [&](const auto& token) { return token.id == id; });
}

const WordPieceTokenizer::SpecialToken* WordPieceTokenizer::special_token_at(const std::string& text,
                                                                             std::size_t at) const {
  const SpecialToken* longest = nullptr;
  for (const auto& token : special_tokens_) {
    const bool longer = longest == nullptr || token.text.size() > longest->text.size();
    if (longer && text.compare(at, token.text.size(), token.text) == 0) longest = &token;
  }
  return longest;
}

std::vector<std::int64_t> WordPieceTokenizer::encode(const std::string& text, bool add_special_tokens) const {
  std::vector<std::int64_t> ids;
  if (add_special_tokens) ids.push_back(cls_id_);
  std::size_t start = 0;
  const WordPieceRule rule = {"##", options_.max_input_chars_per_word, unknown_id_};
  auto append_words_until = [&](std::size_t end) {
    if (end == start) return;
    for (const auto& word : basic_words(text.substr(start, end - start), options_.lowercase)) {
      append_word_pieces(word, ids_, rule, ids);
    }
  };
  for (std::size_t at = 0; at < text.size();) {
    const SpecialToken* special = special_token_at(text, at);
    if (special == nullptr) {
      ++at;
      continue;
    }
    append_words_until(at);
    ids.push_back(special->id);
    at += special->text.size();
    start = at;
  }
  append_words_until(text.size());
  if (add_special_tokens) ids.push_back(sep_id_);
  return ids;
}

std::string WordPieceTokenizer::decode(const std::vector<std::int64_t>& ids, bool skip_special_tokens) const {
  std::string text;
  bool first = true;
  for (const std::int64_t id : ids) {
    if (!has_token(id)) continue;
    const std::string piece = token(id);
    if (skip_special_tokens && is_special(id)) continue;
    const bool continues = !first && piece.starts_with("##");
    // The reference cleans token by token, so that the spaces of contractions stay.
    text += clean_up_spaces(first ? piece : continues ? piece.substr(2) : " " + piece);
    first = false;
  }
  return text;
}

void WordPieceTokenizer::save(const std::filesystem::path& folder) const {
  std::string text;
  for (std::size_t i = 0; i < file_size_; ++i) text += tokens_[i] + "\n";
  write_file_atomically(folder / "vocab.txt", text);
  for (const auto& [name, bytes] : options_.companions) write_file_atomically(folder / name, bytes);
}

}  // namespace blip2
