#include "blip2/text/sentencepiece.h"

#include <sentencepiece_processor.h>

#include <algorithm>

#include "blip2/core/atomic_file.h"
#include "blip2/core/error.h"
#include "blip2/core/read_file.h"

namespace blip2 {
namespace {

constexpr std::uint64_t kMaxModelBytes = 100'000'000;
constexpr std::int64_t kExtraIds = 100;

}  // namespace

T5Tokenizer::T5Tokenizer(const std::filesystem::path& model, const std::map<std::string, std::int64_t>& added_tokens)
    : processor_(std::make_unique<sentencepiece::SentencePieceProcessor>()), special_tokens_(added_tokens) {
  const auto bytes = read_file(model, kMaxModelBytes);
  const auto status = processor_->LoadFromSerializedProto({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  if (!status.ok()) throw UserError("'" + model.string() + "' is no SentencePiece model");
  const std::int64_t pieces = processor_->GetPieceSize();
  padding_id_ = processor_->pad_id();
  end_id_ = processor_->eos_id();
  if (padding_id_ < 0 || end_id_ < 0) {
    throw UserError("'" + model.string() + "' has no <pad> or no </s>, which T5 needs");
  }
  for (std::int64_t n = 0; n < kExtraIds; ++n) {
    special_tokens_.emplace("<extra_id_" + std::to_string(n) + ">", pieces + kExtraIds - 1 - n);
  }
  special_tokens_.emplace("</s>", end_id_);
  special_tokens_.emplace("<pad>", padding_id_);
  special_tokens_.emplace("<unk>", processor_->unk_id());
  size_ = pieces + kExtraIds;
  for (const auto& [token, id] : special_tokens_) {
    if (id < 0 || id > size_ + kExtraIds) {
      throw UserError("'" + model.string() + "': the added token '" + token + "' has the impossible id " +
                      std::to_string(id));
    }
    special_names_[id] = token;
    size_ = std::max(size_, id + 1);
  }
}

T5Tokenizer::~T5Tokenizer() = default;

std::vector<std::int64_t> T5Tokenizer::encode(const std::string& text, bool add_special_tokens) const {
  std::vector<std::int64_t> ids;
  for (std::size_t start = 0; start <= text.size();) {
    std::size_t at = std::string::npos;
    const std::pair<const std::string, std::int64_t>* hit = nullptr;
    for (const auto& special : special_tokens_) {
      const std::size_t found = text.find(special.first, start);
      if (found == std::string::npos) continue;
      if (found < at || (found == at && special.first.size() > hit->first.size())) {
        at = found;
        hit = &special;
      }
    }
    const std::string plain = text.substr(start, at == std::string::npos ? at : at - start);
    for (const int id : processor_->EncodeAsIds(plain)) ids.push_back(id);
    if (hit == nullptr) break;
    ids.push_back(hit->second);
    start = at + hit->first.size();
  }
  if (add_special_tokens) ids.push_back(end_id_);
  return ids;
}

std::string T5Tokenizer::decode(const std::vector<std::int64_t>& ids, bool skip_special_tokens) const {
  std::string text;
  std::vector<int> plain;
  auto flush = [&] {
    if (!plain.empty()) text += processor_->DecodeIds(plain);
    plain.clear();
  };
  for (const std::int64_t id : ids) {
    const auto special = special_names_.find(id);
    if (special == special_names_.end()) {
      token(id);  // refuses ids outside the vocabulary
      plain.push_back(static_cast<int>(id));
    } else if (!skip_special_tokens || special->second == "<unk>") {
      flush();
      text += special->second;
    }
  }
  flush();
  return text;
}

std::string T5Tokenizer::token(std::int64_t id) const {
  const auto special = special_names_.find(id);
  if (special != special_names_.end()) return special->second;
  if (id < 0 || id >= processor_->GetPieceSize()) {
    throw UserError("token id " + std::to_string(id) + " lies outside the vocabulary of " + std::to_string(size_));
  }
  return processor_->IdToPiece(static_cast<int>(id));
}

std::optional<std::int64_t> T5Tokenizer::find(const std::string& token) const {
  const auto special = special_tokens_.find(token);
  if (special != special_tokens_.end()) return special->second;
  const int id = processor_->PieceToId(token);
  if (processor_->IsUnknown(id)) return std::nullopt;
  return id;
}

void T5Tokenizer::save(const std::filesystem::path& folder) const {
  write_file_atomically(folder / "spiece.model", std::string(processor_->serialized_model_proto()));
}

}  // namespace blip2
