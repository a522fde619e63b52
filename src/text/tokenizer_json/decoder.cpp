#include "text/tokenizer_json/decoder.h"

#include <map>
#include <optional>

#include "blip2/text/byte_bpe.h"
#include "blip2/text/tokenizer.h"
#include "text/tokenizer_json/component.h"
#include "text/tokenizer_json/metaspace.h"
#include "text/tokenizer_json/text_pattern.h"

namespace blip2 {
namespace {

using Tokens = std::vector<std::string>;

std::string joined(const Tokens& tokens) {
  std::string text;
  for (const auto& token : tokens) text += token;
  return text;
}

/** A step that turns every token into another; `change(token, index)`. */
template <typename Change>
Decoder each_token(Change change) {
  return [change](Tokens tokens) {
    for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = change(tokens[i], i);
    return tokens;
  };
}

Decoder read_sequence(const JsonPlace& place) {
  std::vector<Decoder> steps;
  for (const auto& part : place.items("decoders")) steps.push_back(read_decoder(part));
  return [steps](Tokens tokens) {
    for (const auto& step : steps) tokens = step(std::move(tokens));
    return tokens;
  };
}

Tokens decode_byte_level(const Tokens& tokens) {
  std::string bytes;
  for (const auto& token : tokens) bytes += byte_bpe_token_bytes(token);
  return {to_utf8(code_points(bytes))};
}

Decoder decode_metaspace(const JsonPlace& place) {
  const Metaspace options = read_metaspace(place);
  const bool drops_first = options.prepend_always || options.prepend_first;
  const TextPattern replacement = string_pattern(options.replacement);
  return each_token([replacement, drops_first, place](const std::string& token, std::size_t index) {
    return replace_matches(token, replacement, index == 0 && drops_first ? "" : " ", place);
  });
}

Decoder read_word_piece(const JsonPlace& place) {
  const std::string prefix = place.text("prefix", "##");
  const bool cleanup = place.flag("cleanup", true);
  return each_token([prefix, cleanup](const std::string& token, std::size_t index) {
    const bool continues = index > 0 && token.starts_with(prefix);
    // Cleaned token by token, so that the spaces of contractions stay.
    const std::string text = continues ? token.substr(prefix.size()) : (index > 0 ? " " : "") + token;
    return cleanup ? clean_up_spaces(text) : text;
  });
}

Decoder read_bpe(const JsonPlace& place) {
  const TextPattern suffix = string_pattern(place.text("suffix", "</w>"));
  return [suffix, place](Tokens tokens) {
    for (auto& token : tokens) {
      token = replace_matches(token, suffix, &token == &tokens.back() ? "" : " ", place);
    }
    return tokens;
  };
}

Decoder read_replace(const JsonPlace& place) {
  const TextPattern pattern = read_pattern(place.at("pattern", "a pattern"));
  const std::string content = place.text("content");
  return each_token([pattern, content, place](const std::string& token, std::size_t) {
    return replace_matches(token, pattern, content, place);
  });
}

Decoder read_strip(const JsonPlace& place) {
  const CodePoints content = code_points(place.text("content"));
  if (content.size() != 1) place.at("content", "").refuse("one character");
  constexpr std::int64_t kMost = 1'000'000'000;
  const std::int64_t start = place.number("start", 0, kMost), stop = place.number("stop", 0, kMost);
  return each_token([character = content[0], start, stop](const std::string& token, std::size_t) {
    const CodePoints points = code_points(token);
    auto begin = points.begin(), end = points.end();
    for (std::int64_t i = 0; i < start && begin != end && *begin == character; ++i) ++begin;
    for (std::int64_t i = 0; i < stop && begin != end && *(end - 1) == character; ++i) --end;
    return to_utf8(CodePoints(begin, end));
  });
}

/** The byte of "<0x0A>". */
std::optional<char> fallback_byte(const std::string& token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
  };
  const int high = digit(token[3]), low = digit(token[4]);
  if (high < 0 || low < 0) return std::nullopt;
  return static_cast<char>(high * 16 + low);
}

Tokens decode_byte_fallback(const Tokens& tokens) {
  Tokens result;
  std::string bytes;
  auto finish = [&] {
    if (bytes.empty()) return;
    if (to_utf8(code_points(bytes)) == bytes) {
      result.push_back(bytes);
    } else {
      result.insert(result.end(), bytes.size(), "\ufffd");  // one for every byte
    }
    bytes.clear();
  };
  for (const auto& token : tokens) {
    if (const auto byte = fallback_byte(token)) {
      bytes += *byte;
      continue;
    }
    finish();
    result.push_back(token);
  }
  finish();
  return result;
}

}  // namespace

Decoder read_decoder(const JsonPlace& place) {
  static const std::map<std::string, Decoder (*)(const JsonPlace&)> kReaders = {
      {"Sequence", read_sequence},
      {"ByteLevel", [](const JsonPlace&) -> Decoder { return decode_byte_level; }},
      {"Metaspace", decode_metaspace},
      {"WordPiece", read_word_piece},
      {"BPEDecoder", read_bpe},
      {"Replace", read_replace},
      {"Fuse", [](const JsonPlace&) -> Decoder { return [](const Tokens& tokens) { return Tokens{joined(tokens)}; }; }},
      {"Strip", read_strip},
      {"ByteFallback", [](const JsonPlace&) -> Decoder { return decode_byte_fallback; }}};
  return read_component(place, kReaders);
}

}  // namespace blip2
