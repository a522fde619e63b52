#include "blip2/text/sentencepiece.h"

#include <sentencepiece_processor.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "blip2/core/atomic_file.h"
#include "blip2/core/error.h"
#include "blip2/core/read_file.h"
#include "core/in_quotes.h"
#include "text/tokenizer_files.h"
#include "text/unicode.h"

namespace blip2 {
namespace {

constexpr std::uint64_t kMaxModelBytes = 100'000'000;
constexpr std::int64_t kMaxExtraIds = 100'000;
const std::string kSpace = "\xe2\x96\x81";  // U+2581, sentencepiece's space

std::string with_spaces(std::string token, std::string_view space) {
  for (std::size_t at = 0; (at = token.find(kSpace, at)) != std::string::npos; at += space.size()) {
    token.replace(at, kSpace.size(), space);
  }
  return token;
}

}  // namespace

T5Tokenizer::T5Tokenizer(const std::filesystem::path& model, const T5TokenizerOptions& options)
    : options_(options), processor_(std::make_unique<sentencepiece::SentencePieceProcessor>()) {
  const auto bytes = read_file(model, kMaxModelBytes);
  const auto status = processor_->LoadFromSerializedProto({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  if (!status.ok() || processor_->GetPieceSize() == 0) {
    throw UserError("'" + model.string() + "' is no SentencePiece model: expected the spiece.model of a T5 folder");
  }
  if (processor_->eos_id() < 0) {
    throw UserError("'" + model.string() + "' has no piece </s>, which T5 needs at the end of a text");
  }
  if (options_.extra_ids < 0 || options_.extra_ids > kMaxExtraIds) {
    throw UserError("extra_ids of a T5 tokenizer must lie between 0 and " + std::to_string(kMaxExtraIds) + ", found " +
                    std::to_string(options_.extra_ids));
  }
  add_tokens(model.string());
}

T5Tokenizer::~T5Tokenizer() = default;

void T5Tokenizer::add_tokens(const std::string& source) {
  const int pieces = processor_->GetPieceSize();
  for (int id = 0; id < pieces; ++id) tokens_.push_back(processor_->IdToPiece(id));
  std::vector<AddedToken> added;
  for (const int id : {processor_->pad_id(), processor_->eos_id(), processor_->unk_id()}) {
    if (id >= 0) added.push_back({tokens_[static_cast<std::size_t>(id)], id});
  }
  end_id_ = processor_->eos_id();
  if (processor_->pad_id() >= 0) padding_id_ = processor_->pad_id();
  space_id_ = processor_->PieceToId(kSpace);
  for (std::int64_t n = options_.extra_ids - 1; n >= 0; --n) {
    const std::string sentinel = "<extra_id_" + std::to_string(n) + ">";
    added.push_back({sentinel, vocabulary_size()});
    tokens_.push_back(sentinel);
  }
  std::vector<AddedToken> beside = options_.added_tokens;
  std::stable_sort(beside.begin(), beside.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  const AddedTokens known(added);
  for (auto& token : beside) {
    const int piece = processor_->PieceToId(token.content);
    if (known.find(token.content) != nullptr) continue;
    if (processor_->IdToPiece(piece) == token.content) {
      token.id = piece;
    } else if (token.id == vocabulary_size()) {
      tokens_.push_back(token.content);
    } else {
      throw UserError("'" + source + "': the added token " + in_quotes(token.content) + " has the id " +
                      std::to_string(token.id) + ", expected " + std::to_string(vocabulary_size()) +
                      ", the first one that is free");
    }
    added.push_back(token);
  }
  added_tokens_ = AddedTokens(added);
}

bool T5Tokenizer::ends_in_space(std::string_view text) const {
  // The library drops white space at the ends. Between two digits, which combine with nothing, it keeps it: the pieces
  // of "0" + text + "0" show what the end looks like after normalisation.
  const auto last = static_cast<unsigned char>(text.back());
  if (last > ' ' && last < 0x7F) return false;
  std::vector<std::string> pieces;
  if (!processor_->Encode("0" + std::string(text) + "0", &pieces).ok()) return false;
  std::string normal;
  for (const auto& piece : pieces) normal += piece;
  return normal.ends_with(kSpace + "0");
}

void T5Tokenizer::encode_piece(std::string_view text, std::vector<std::int64_t>& ids) const {
  std::vector<int> found;
  const auto status = processor_->Encode(text, &found);
  if (!status.ok()) throw WorldError("the sentencepiece library cannot encode a text: " + status.ToString());
  ids.insert(ids.end(), found.begin(), found.end());
  if (options_.trailing_space_is_token && ends_in_space(text)) ids.push_back(space_id_);
}

std::vector<std::int64_t> T5Tokenizer::encode(const std::string& text, bool add_special_tokens) const {
  std::vector<std::int64_t> ids;
  const std::string valid = to_utf8(code_points(text));
  for (const auto& piece : added_tokens_.split(valid)) {
    if (piece.id) {
      ids.push_back(*piece.id);
    } else {
      encode_piece(piece.text, ids);
    }
  }
  if (add_special_tokens) ids.push_back(end_id_);
  return ids;
}

std::string T5Tokenizer::decode(const std::vector<std::int64_t>& ids, bool skip_special_tokens) const {
  std::string text;
  bool first = true;
  for (const std::int64_t id : ids) {
    if (!has_token(id)) continue;
    const std::string piece = token(id);
    if (skip_special_tokens && added_tokens_.is_special(id)) continue;
    text += with_spaces(piece, first ? "" : " ");
    first = false;
  }
  return text;
}

std::string T5Tokenizer::token(std::int64_t id) const {
  if (!has_token(id)) {
    throw UserError("token id " + std::to_string(id) + " lies outside the vocabulary of " +
                    std::to_string(vocabulary_size()));
  }
  return tokens_[static_cast<std::size_t>(id)];
}

std::optional<std::int64_t> T5Tokenizer::find(const std::string& token) const {
  if (const AddedToken* added = added_tokens_.find(token)) return added->id;
  const int id = processor_->PieceToId(token);  // that of <unk> for strings that are no piece
  if (id < 0 || tokens_[static_cast<std::size_t>(id)] != token) return std::nullopt;
  return id;
}

std::int64_t T5Tokenizer::padding_id() const {
  if (!padding_id_) {
    throw UserError("the SentencePiece model has no piece <pad>: batches need a model that was trained with one");
  }
  return *padding_id_;
}

std::string T5Tokenizer::make_config() const {
  nlohmann::ordered_json config = {{"tokenizer_class", "T5Tokenizer"}, {"extra_ids", options_.extra_ids}};
  auto name = [&](const char* key, int id) {
    if (id >= 0) config[key] = tokens_[static_cast<std::size_t>(id)];
  };
  name("eos_token", processor_->eos_id());
  name("pad_token", processor_->pad_id());
  name("unk_token", processor_->unk_id());
  if (!added_tokens_.all().empty()) config["added_tokens_decoder"] = added_tokens_decoder(added_tokens_.all());
  return config.dump(2) + "\n";
}

void T5Tokenizer::save(const std::filesystem::path& folder) const {
  write_file_atomically(folder / "spiece.model", std::string(processor_->serialized_model_proto()));
  auto companions = options_.companions;
  companions.try_emplace("tokenizer_config.json", make_config());
  for (const auto& [name, bytes] : companions) write_file_atomically(folder / name, bytes);
}

}  // namespace blip2
