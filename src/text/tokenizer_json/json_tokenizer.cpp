#include "text/tokenizer_json/json_tokenizer.h"

#include <set>

#include "blip2/core/atomic_file.h"
#include "blip2/core/error.h"
#include "blip2/core/read_file.h"
#include "core/in_quotes.h"
#include "text/token_ids.h"
#include "text/tokenizer_json/added_tokens_list.h"
#include "text/unicode.h"

namespace blip2 {
namespace {

constexpr std::uint64_t kMaxFileBytes = 100'000'000;

std::int64_t first_free_id(const TokenIds& ids) {
  std::set<std::int64_t> used;
  for (const auto& [token, id] : ids) used.insert(id);
  std::int64_t free = 0;
  while (used.count(free) != 0) ++free;
  return free;
}

}  // namespace

JsonTokenizer::JsonTokenizer(const JsonPlace& root, std::string bytes, const TokenizerJsonOptions& options)
    : options_(options), bytes_(std::move(bytes)) {
  ReadModel read = read_model(root.at("model", "the model that finds tokens in words"));
  model_ = std::move(read.model);
  const std::vector<AddedToken> added = resolve_added_tokens(root, read.type == "WordPiece", read.ids);
  tokens_ = tokens_by_id(read.ids, root.file());
  ids_.insert(read.ids.begin(), read.ids.end());
  if (root.has("normalizer")) normalizer_ = read_normalizer(root.at("normalizer", ""));
  if (root.has("pre_tokenizer")) pre_tokenizer_ = read_pre_tokenizer(root.at("pre_tokenizer", ""));
  if (root.has("post_processor")) {
    processor_ = read_post_processor(root.at("post_processor", ""), vocabulary_size());
  }
  if (root.has("decoder")) decoder_ = read_decoder(root.at("decoder", ""));
  read_added_tokens(added);
  read_padding(root);
}

std::vector<AddedToken> JsonTokenizer::resolve_added_tokens(const JsonPlace& root, bool is_wordpiece,
                                                            TokenIds& ids) const {
  std::vector<AddedToken> added = read_added_token_list(root);
  added.insert(added.end(), options_.added_tokens.begin(), options_.added_tokens.end());
  for (auto& token : added) token.id = ids.emplace(token.content, token.id).first->second;
  for (const auto& content : options_.special_tokens) {
    const auto found = ids.find(content);
    if (found != ids.end()) added.push_back({content, found->second});
  }
  if (is_wordpiece && !options_.wordpiece_token.empty()) {
    const auto [token, is_new] = ids.emplace(options_.wordpiece_token, first_free_id(ids));
    added.push_back({token->first, token->second});
  }
  return added;
}

void JsonTokenizer::read_added_tokens(const std::vector<AddedToken>& tokens) {
  std::vector<AddedToken> raw, normalized;
  std::unordered_set<std::string> known;
  for (const auto& token : tokens) {
    if (!known.insert(token.content).second) continue;
    if (token.special) special_.insert(token.id);
    if (!token.normalized || !normalizer_) {
      (token.normalized ? normalized : raw).push_back(token);
      continue;
    }
    AddedToken changed = token;
    changed.content = normalizer_(token.content);
    if (!changed.content.empty()) normalized.push_back(std::move(changed));
  }
  raw_tokens_ = AddedTokens(raw);
  normalized_tokens_ = AddedTokens(normalized);
}

void JsonTokenizer::read_padding(const JsonPlace& root) {
  std::vector<std::string> names = {"<pad>", "[PAD]"};
  if (root.has("padding")) names.insert(names.begin(), root.at("padding", "").text("pad_token", "[PAD]"));
  if (options_.padding) {
    names = {*options_.padding};
    if (!names[0].empty() && !find(names[0])) {
      throw UserError("'" + root.file() + "': the vocabulary has no token " + in_quotes(names[0]) +
                      ", which is named as pad_token");
    }
  }
  for (const auto& name : names) {
    if (!padding_id_) padding_id_ = find(name);
  }
}

void JsonTokenizer::encode_piece(std::string text, bool begins_text, std::vector<std::int64_t>& ids) const {
  if (normalizer_) text = normalizer_(text);
  for (const auto& piece : normalized_tokens_.split(text)) {
    if (piece.id) {
      ids.push_back(*piece.id);
      continue;
    }
    std::vector<PreToken> words = {{std::string(piece.text), begins_text && piece.text.data() == text.data()}};
    if (pre_tokenizer_) words = pre_tokenizer_(std::move(words));
    for (const auto& word : words) model_->append_ids(word.text, ids);
  }
}

std::vector<std::int64_t> JsonTokenizer::encode(const std::string& text, bool add_special_tokens) const {
  std::vector<std::int64_t> ids;
  if (add_special_tokens) ids = processor_.prefix;
  const std::string valid = to_utf8(code_points(text));
  for (const auto& piece : raw_tokens_.split(valid)) {
    if (piece.id) {
      ids.push_back(*piece.id);
    } else {
      encode_piece(std::string(piece.text), piece.text.data() == valid.data(), ids);
    }
  }
  if (add_special_tokens) ids.insert(ids.end(), processor_.suffix.begin(), processor_.suffix.end());
  return ids;
}

std::string JsonTokenizer::decode(const std::vector<std::int64_t>& ids, bool skip_special_tokens) const {
  std::vector<std::string> pieces;
  for (const std::int64_t id : ids) {
    if (!has_token(id) || (skip_special_tokens && special_.count(id) != 0)) continue;
    pieces.push_back(tokens_[static_cast<std::size_t>(id)]);
  }
  std::string text;
  if (decoder_) pieces = decoder_(std::move(pieces));
  for (std::size_t i = 0; i < pieces.size(); ++i) text += (decoder_ || i == 0 ? "" : " ") + pieces[i];
  return text;
}

std::string JsonTokenizer::token(std::int64_t id) const {
  if (!has_token(id)) {
    throw UserError("token id " + std::to_string(id) + " lies outside the vocabulary of " +
                    std::to_string(vocabulary_size()));
  }
  return tokens_[static_cast<std::size_t>(id)];
}

std::optional<std::int64_t> JsonTokenizer::find(const std::string& token) const {
  const auto found = ids_.find(token);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

std::int64_t JsonTokenizer::padding_id() const {
  if (!padding_id_) throw UserError("the tokenizer has no padding token: name one as pad_token to make batches");
  return *padding_id_;
}

void JsonTokenizer::save(const std::filesystem::path& folder) const {
  write_file_atomically(folder / "tokenizer.json", bytes_);
  for (const auto& [name, bytes] : options_.companions) {
    if (name != "tokenizer.json") write_file_atomically(folder / name, bytes);
  }
}

std::unique_ptr<Tokenizer> parse_tokenizer_json(const std::string& bytes, const std::string& source,
                                                const TokenizerJsonOptions& options) {
  const nlohmann::json root = parse_json(bytes, source);
  return std::make_unique<JsonTokenizer>(JsonPlace(source, root), bytes, options);
}

std::unique_ptr<Tokenizer> load_tokenizer_json(const std::filesystem::path& file, const TokenizerJsonOptions& options) {
  const auto bytes = read_file(file, kMaxFileBytes);
  return parse_tokenizer_json(std::string(bytes.begin(), bytes.end()), file.string(), options);
}

}  // namespace blip2
