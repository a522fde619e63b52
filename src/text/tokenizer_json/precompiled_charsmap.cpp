#include "text/tokenizer_json/precompiled_charsmap.h"

#include <unicode/brkiter.h>
#include <unicode/utext.h>

#include <algorithm>
#include <memory>

#include "blip2/core/error.h"
#include "text/tokenizer_json/text_pattern.h"
#include "text/unicode.h"

namespace blip2 {
namespace {

constexpr std::size_t kLongestCluster = 5;  // bytes of one that is looked up as a whole

std::optional<std::string> decode_base64(const std::string& text) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  if (text.size() % 4 != 0) return std::nullopt;
  std::array<int, 256> values;
  values.fill(-1);
  for (std::size_t i = 0; i < kDigits.size(); ++i) values[static_cast<unsigned char>(kDigits[i])] = static_cast<int>(i);
  std::size_t length = text.size();
  while (length > 0 && text.size() - length < 2 && text[length - 1] == '=') --length;
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3);
  std::uint32_t bits = 0;
  int count = 0;
  for (std::size_t i = 0; i < length; ++i) {
    const int value = values[static_cast<unsigned char>(text[i])];
    if (value < 0) return std::nullopt;
    bits = bits << 6 | static_cast<std::uint32_t>(value);
    count += 6;
    if (count >= 8) {
      count -= 8;
      bytes += static_cast<char>(bits >> count & 0xFF);
    }
  }
  return bytes;
}

std::uint32_t little_endian(const std::string& bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 4; i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

// The parts of a unit of the double array.
std::size_t offset_of(std::uint32_t unit) {
  return static_cast<std::size_t>(unit >> 10) << ((unit & (1U << 9)) >> 6);
}
std::uint32_t label_of(std::uint32_t unit) {
  return unit & (0x80000000U | 0xFF);
}
bool has_leaf(std::uint32_t unit) {
  return (unit >> 8 & 1) != 0;
}
std::size_t value_of(std::uint32_t unit) {
  return unit & 0x7FFFFFFFU;
}

/** Whether every character is a grapheme cluster of its own and its own entry of a table of ASCII. */
bool is_plain_ascii(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 128 && c != '\r'; });
}

/** Ends of the grapheme clusters, in bytes. */
std::vector<std::size_t> cluster_ends(const std::string& text) {
  UErrorCode status = U_ZERO_ERROR;
  static const std::unique_ptr<const icu::BreakIterator> clusters(
      icu::BreakIterator::createCharacterInstance(icu::Locale::getRoot(), status));
  if (clusters == nullptr) throw WorldError("ICU cannot find grapheme clusters: its data is missing");
  const std::unique_ptr<icu::BreakIterator> iterator(clusters->clone());  // one of each thread
  const std::unique_ptr<UText, UText* (*)(UText*)> utf8(
      utext_openUTF8(nullptr, text.data(), static_cast<std::int64_t>(text.size()), &status), utext_close);
  iterator->setText(utf8.get(), status);
  if (U_FAILURE(status)) throw WorldError(std::string("ICU cannot read a text: ") + u_errorName(status));
  std::vector<std::size_t> ends;
  iterator->first();
  for (std::int32_t end; (end = iterator->next()) != icu::BreakIterator::DONE;) {
    ends.push_back(static_cast<std::size_t>(end));
  }
  return ends;
}

}  // namespace

PrecompiledCharsmap::PrecompiledCharsmap(const JsonPlace& normalizer)
    : place_(normalizer.at("precompiled_charsmap", "a table in base64")) {
  const auto bytes = decode_base64(normalizer.text("precompiled_charsmap"));
  if (!bytes) place_.complain("is no base64, which a table of characters is written in");
  read(*bytes);
  for (std::size_t c = 0; c < ascii_.size(); ++c) append_chunk(std::string(1, static_cast<char>(c)), ascii_[c]);
}

void PrecompiledCharsmap::read(const std::string& bytes) {
  const std::size_t size = bytes.size() < 4 ? 0 : little_endian(bytes, 0);
  if (size == 0 || size % 4 != 0 || size > bytes.size() - 4) {
    place_.complain("must begin with the length of its trie, a multiple of 4 up to " +
                    std::to_string(bytes.size() < 4 ? 0 : bytes.size() - 4) + ", found " + std::to_string(size));
  }
  units_.resize(size / 4);
  for (std::size_t i = 0; i < units_.size(); ++i) units_[i] = little_endian(bytes, 4 + 4 * i);
  replacements_ = bytes.substr(4 + size);
  if (to_utf8(code_points(replacements_)) != replacements_) place_.complain("holds replacements that are not UTF-8");
}

std::uint32_t PrecompiledCharsmap::unit(std::size_t at) const {
  if (at >= units_.size()) {
    place_.complain("is damaged: a step leads to unit " + std::to_string(at) + " of a trie of " +
                    std::to_string(units_.size()));
  }
  return units_[at];
}

std::optional<std::string_view> PrecompiledCharsmap::find(std::string_view chunk) const {
  std::size_t at = offset_of(unit(0));
  for (const char character : chunk) {
    const auto byte = static_cast<unsigned char>(character);
    if (byte == 0) return std::nullopt;
    at ^= byte;
    const std::uint32_t step = unit(at);
    if (label_of(step) != byte) return std::nullopt;
    at ^= offset_of(step);
    if (!has_leaf(step)) continue;
    const std::size_t start = value_of(unit(at));
    if (start >= replacements_.size() || U8_IS_TRAIL(replacements_[start])) {
      place_.complain("is damaged: a key leads to byte " + std::to_string(start) + " of " +
                      std::to_string(replacements_.size()) + " bytes of replacements, where none begins");
    }
    const std::size_t end = std::min(replacements_.find('\0', start), replacements_.size());
    return std::string_view(replacements_).substr(start, end - start);
  }
  return std::nullopt;
}

void PrecompiledCharsmap::append_chunk(std::string_view chunk, std::string& result) const {
  result += find(chunk).value_or(chunk);
  if (result.size() > kLongestText) {
    place_.complain("makes a text longer than " + std::to_string(kLongestText) + " bytes");
  }
}

std::string PrecompiledCharsmap::apply(const std::string& text) const {
  std::string result;
  result.reserve(text.size());
  if (is_plain_ascii(text)) {
    for (const char c : text) result += ascii_[static_cast<unsigned char>(c)];
    return result;
  }
  std::size_t start = 0;
  for (const std::size_t end : cluster_ends(text)) {
    const std::string_view cluster = std::string_view(text).substr(start, end - start);
    start = end;
    if (cluster.size() <= kLongestCluster && find(cluster)) {
      append_chunk(cluster, result);
      continue;
    }
    for (std::size_t at = 0; at < cluster.size();) {
      const std::size_t first = at;
      U8_FWD_1(cluster.data(), at, cluster.size());
      append_chunk(cluster.substr(first, at - first), result);
    }
  }
  return result;
}

}  // namespace blip2
