#include "blip2/text/byte_bpe.h"

#include "blip2/core/error.h"
#include "core/in_quotes.h"
#include "text/bpe_merges.h"
#include "text/token_ids.h"
#include "text/unicode.h"

namespace blip2 {

ByteBpeTokenizer::ByteBpeTokenizer(ByteBpeVocabulary vocabulary, const ByteBpeOptions& options,
                                   const std::string& source)
    : vocabulary_(std::move(vocabulary)), options_(options) {
  read_ids(source);
  read_merges(source);
}

void ByteBpeTokenizer::read_ids(const std::string& source) {
  auto all = vocabulary_.ids;
  std::vector<AddedToken> added = options_.added_tokens;
  for (auto& token : added) token.id = all.emplace(token.content, token.id).first->second;
  tokens_ = tokens_by_id(all, source);
  ids_.insert(all.begin(), all.end());
  auto need = [&](const std::string& token) {
    const auto id = find(token);
    if (!id) {
      throw UserError("'" + source + "': the vocabulary has no token " + in_quotes(token) +
                      ", which a byte-level BPE of this kind needs");
    }
    return *id;
  };
  for (std::size_t byte = 0; byte < 256; ++byte) byte_ids_[byte] = need(byte_characters()[byte]);
  if (!options_.beginning.empty()) beginning_id_ = need(options_.beginning);
  if (!options_.padding.empty()) padding_id_ = need(options_.padding);
  if (beginning_id_) added.push_back({options_.beginning, *beginning_id_});
  if (padding_id_) added.push_back({options_.padding, *padding_id_});
  added_tokens_ = AddedTokens(added);
}

void ByteBpeTokenizer::read_merges(const std::string& source) {
  auto merges = std::make_shared<BpeMerges>();
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
    merges->add(need(left), need(right), need(left + right));
  }
  merges_ = std::move(merges);
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

void ByteBpeTokenizer::encode_word(const std::string& word, std::vector<std::int64_t>& ids) const {
  std::vector<std::int64_t> symbols;
  symbols.reserve(word.size());
  for (const char byte : word) symbols.push_back(byte_ids_[static_cast<unsigned char>(byte)]);
  merges_->apply(symbols);
  ids.insert(ids.end(), symbols.begin(), symbols.end());
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
