#include "blip2/text/wordpiece.h"

#include <algorithm>

#include "blip2/core/atomic_file.h"
#include "blip2/core/error.h"
#include "blip2/core/read_file.h"
#include "text/basic_words.h"
#include "text/unicode.h"

namespace blip2 {
namespace {

constexpr std::uint64_t kMaxVocabularyBytes = 100'000'000;
const std::vector<std::string> kSpecialTokens = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};

}  // namespace

WordPieceTokenizer::WordPieceTokenizer(const std::filesystem::path& vocabulary, const WordPieceOptions& options)
    : options_(options) {
  const auto bytes = read_file(vocabulary, kMaxVocabularyBytes);
  const std::string text(bytes.begin(), bytes.end());
  auto refuse = [&](const std::string& what) { throw UserError("'" + vocabulary.string() + "': " + what); };
  for (std::size_t start = 0; start < text.size();) {
    std::size_t end = text.find('\n', start);
    if (end == std::string::npos) end = text.size();
    std::string line = text.substr(start, end - start);
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (to_utf8(code_points(line)) != line) refuse("line " + std::to_string(tokens_.size() + 1) + " is not UTF-8");
    if (!ids_.emplace(line, static_cast<std::int64_t>(tokens_.size())).second) {
      refuse("line " + std::to_string(tokens_.size() + 1) + " repeats the token '" + line + "'");
    }
    tokens_.push_back(std::move(line));
    start = end + 1;
  }
  file_size_ = tokens_.size();
  for (const auto& token : options_.added_tokens) {
    if (ids_.emplace(token, static_cast<std::int64_t>(tokens_.size())).second) tokens_.push_back(token);
  }
  auto need = [&](const std::string& token) {
    const auto id = find(token);
    if (!id) refuse("a WordPiece vocabulary needs the token " + token + ", which no line holds");
    return id.value_or(0);
  };
  padding_id_ = need("[PAD]");
  unknown_id_ = need("[UNK]");
  cls_id_ = need("[CLS]");
  sep_id_ = need("[SEP]");
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
  if (id < 0 || id >= vocabulary_size()) {
    throw UserError("token id " + std::to_string(id) + " lies outside the vocabulary of " +
                    std::to_string(vocabulary_size()));
  }
  return tokens_[static_cast<std::size_t>(id)];
}

bool WordPieceTokenizer::is_special(const std::string& token) const {
  auto holds = [&](const std::vector<std::string>& list) {
    return std::find(list.begin(), list.end(), token) != list.end();
  };
  return holds(kSpecialTokens) || holds(options_.added_tokens);
}

void WordPieceTokenizer::split_word(const std::string& word, std::vector<std::int64_t>& ids) const {
  const CodePoints points = code_points(word);
  if (static_cast<std::int64_t>(points.size()) > options_.max_input_chars_per_word) {
    ids.push_back(unknown_id_);
    return;
  }
  std::vector<std::size_t> offsets = {0};  // of each code point in bytes
  for (const UChar32 c : points) offsets.push_back(offsets.back() + static_cast<std::size_t>(U8_LENGTH(c)));
  std::vector<std::int64_t> pieces;
  for (std::size_t start = 0; start < points.size();) {
    std::size_t end = points.size();
    std::optional<std::int64_t> id;
    for (; end > start; --end) {
      id = find((start > 0 ? "##" : "") + word.substr(offsets[start], offsets[end] - offsets[start]));
      if (id) break;
    }
    if (!id) {
      ids.push_back(unknown_id_);
      return;
    }
    pieces.push_back(*id);
    start = end;
  }
  ids.insert(ids.end(), pieces.begin(), pieces.end());
}

void WordPieceTokenizer::split_plain_text(const std::string& text, std::vector<std::int64_t>& ids) const {
  for (const auto& word : basic_words(text, options_.lowercase)) split_word(word, ids);
}

std::vector<std::int64_t> WordPieceTokenizer::encode(const std::string& text, bool add_special_tokens) const {
  std::vector<std::int64_t> ids;
  if (add_special_tokens) ids.push_back(cls_id_);
  // Special tokens written out in the text are taken as they are.
  std::size_t start = 0;
  while (start <= text.size()) {
    std::size_t at = std::string::npos;
    std::string hit;
    auto look_for = [&](const std::string& token) {
      const std::size_t found = text.find(token, start);
      if (found < at || (found == at && found != std::string::npos && token.size() > hit.size())) {
        at = found;
        hit = token;
      }
    };
    for (const auto& token : kSpecialTokens) look_for(token);
    for (const auto& token : options_.added_tokens) look_for(token);
    split_plain_text(text.substr(start, at == std::string::npos ? at : at - start), ids);
    if (at == std::string::npos) break;
    ids.push_back(find(hit).value_or(unknown_id_));
    start = at + hit.size();
  }
  if (add_special_tokens) ids.push_back(sep_id_);
  return ids;
}

std::string WordPieceTokenizer::decode(const std::vector<std::int64_t>& ids, bool skip_special_tokens) const {
  std::string text;
  for (const std::int64_t id : ids) {
    const std::string piece = token(id);
    if (skip_special_tokens && is_special(piece)) continue;
    if (piece.rfind("##", 0) == 0 && !text.empty()) {
      text += piece.substr(2);
    } else {
      text += (text.empty() ? "" : " ") + piece;
    }
  }
  return text;
}

void WordPieceTokenizer::save(const std::filesystem::path& folder) const {
  std::string text;
  for (std::size_t i = 0; i < file_size_; ++i) text += tokens_[i] + "\n";
  write_file_atomically(folder / "vocab.txt", text);
}

}  // namespace blip2
