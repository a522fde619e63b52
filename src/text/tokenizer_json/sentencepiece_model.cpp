#include "text/tokenizer_json/sentencepiece_model.h"

#include <sentencepiece_processor.h>

#include <optional>
#include <string_view>

#include "blip2/core/error.h"
#include "blip2/core/read_file.h"

namespace blip2 {
namespace {

constexpr std::uint64_t kMaxModelBytes = 100'000'000;

/** A message of protocol buffers, field by field; ends early where it is damaged. */
class ProtoFields {
 public:
  explicit ProtoFields(std::string_view message) : rest_(message) {}

  /** False behind the last field. */
  bool next() {
    const auto tag = varint();
    if (!tag) return false;
    number = *tag >> 3;
    bytes = {};
    value = 0;
    const std::uint64_t kind = *tag & 7;
    std::optional<std::uint64_t> length;
    if (kind == 0) {
      const auto found = varint();
      if (found) value = *found;
      return found.has_value();
    }
    if (kind == 1) length = 8;
    if (kind == 2) length = varint();
    if (kind == 5) length = 4;
    if (!length || *length > rest_.size()) return false;
    bytes = rest_.substr(0, *length);
    rest_.remove_prefix(*length);
    return true;
  }

  std::uint64_t number = 0, value = 0;
  std::string_view bytes;

 private:
  std::optional<std::uint64_t> varint() {
    std::uint64_t result = 0;
    for (int shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      result |= std::uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return result;
    }
    return std::nullopt;
  }

  std::string_view rest_;
};

std::string base64(std::string_view bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      group = group << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    }
    for (std::size_t k = 0; k < 4; ++k) {
      text += i + k > bytes.size() ? '=' : kDigits[group >> (18 - 6 * k) & 63];
    }
  }
  return text;
}

// Numbers of fields and values in sentencepiece's model format.
constexpr std::uint64_t kTrainerSpec = 2, kNormalizerSpec = 3, kModelType = 3, kPrecompiledCharsmap = 2, kUnigram = 1;

}  // namespace

UnigramFile read_unigram_file(const std::filesystem::path& file) {
  const auto raw = read_file(file, kMaxModelBytes);
  const std::string_view bytes(reinterpret_cast<const char*>(raw.data()), raw.size());
  sentencepiece::SentencePieceProcessor processor;
  if (!processor.LoadFromSerializedProto(bytes).ok()) {
    throw UserError("'" + file.string() + "' is no SentencePiece model: expected the spiece.model of a T5 folder");
  }
  UnigramFile result;
  for (ProtoFields part(bytes); part.next();) {
    if (part.number != kTrainerSpec && part.number != kNormalizerSpec) continue;
    for (ProtoFields field(part.bytes); field.next();) {
      if (part.number == kTrainerSpec && field.number == kModelType && field.value != kUnigram) {
        throw UserError(
            "'" + file.string() +
            "' is no unigram model: of SentencePiece's kinds only unigram can be written as tokenizer.json");
      }
      if (part.number == kNormalizerSpec && field.number == kPrecompiledCharsmap) result.charsmap = base64(field.bytes);
    }
  }
  for (int id = 0; id < processor.GetPieceSize(); ++id) {
    const bool is_text = !processor.IsControl(id) && !processor.IsUnknown(id);
    result.pieces.emplace_back(processor.IdToPiece(id), is_text ? processor.GetScore(id) : 0.0F);
  }
  result.unknown_id = processor.unk_id();
  return result;
}

}  // namespace blip2
