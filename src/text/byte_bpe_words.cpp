#include <array>

#include "blip2/text/byte_bpe.h"
#include "text/unicode.h"

namespace blip2 {
namespace {

bool is_letter(UChar32 c) {
  return in_category(c, U_GC_L_MASK);
}
bool is_number(UChar32 c) {
  return in_category(c, U_GC_N_MASK);
}
bool is_other(UChar32 c) {
  return !is_white_space(c) && !is_letter(c) && !is_number(c);
}

/** End of the run of `belongs` that starts at `start`. */
template <typename Predicate>
std::size_t run_end(const CodePoints& text, std::size_t start, Predicate belongs) {
  while (start < text.size() && belongs(text[start])) ++start;
  return start;
}

/** Length of an English contraction at `start`: 's 't 're 've 'm 'll 'd; 0 when there is none. */
std::size_t contraction(const CodePoints& text, std::size_t start) {
  if (text[start] != '\'') return 0;
  auto at = [&](std::size_t i) { return start + i < text.size() ? text[start + i] : 0; };
  const UChar32 first = at(1), second = at(2);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
  if ((first == 'r' || first == 'v') && second == 'e') return 3;
  if (first == 'l' && second == 'l') return 3;
  return 0;
}

/** End of the word that starts at `start`, by the first alternative that matches. */
std::size_t word_end(const CodePoints& text, std::size_t start) {
  if (const std::size_t length = contraction(text, start)) return start + length;
  const std::size_t body = start + (text[start] == ' ' ? 1 : 0);  // one space belongs to the word behind it
  for (auto* belongs : {is_letter, is_number, is_other}) {
    const std::size_t end = run_end(text, body, belongs);
    if (end > body) return end;
  }
  const std::size_t end = run_end(text, start, is_white_space);
  // White space before a word leaves its last character to the word, unless it is alone.
  return end < text.size() && end - start > 1 ? end - 1 : end;
}

}  // namespace

std::vector<std::string> byte_bpe_words(const std::string& text) {
  const CodePoints points = code_points(text);
  std::vector<std::string> words;
  for (std::size_t start = 0; start < points.size();) {
    const std::size_t end = word_end(points, start);
    words.push_back(to_utf8(CodePoints(points.begin() + static_cast<std::ptrdiff_t>(start),
                                       points.begin() + static_cast<std::ptrdiff_t>(end))));
    start = end;
  }
  return words;
}

const std::vector<std::string>& byte_characters() {
  static const std::vector<std::string> characters = [] {
    std::vector<std::string> result(256);
    UChar32 next = 256;  // bytes that are no printable character move behind Latin-1, in order
    for (UChar32 byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
      append_utf8(result[static_cast<std::size_t>(byte)], printable ? byte : next++);
    }
    return result;
  }();
  return characters;
}

std::string byte_bpe_token_bytes(const std::string& token) {
  constexpr UChar32 kHighest = 0x143;
  static const auto byte_of = [] {
    std::array<int, kHighest + 1> result;
    result.fill(-1);
    for (std::size_t byte = 0; byte < 256; ++byte) {
      result[static_cast<std::size_t>(code_points(byte_characters()[byte])[0])] = static_cast<int>(byte);
    }
    return result;
  }();
  std::string bytes;
  for (const UChar32 c : code_points(token)) {
    const int byte = c <= kHighest ? byte_of[static_cast<std::size_t>(c)] : -1;
    if (byte < 0) return token;
    bytes += static_cast<char>(byte);
  }
  return bytes;
}

}  // namespace blip2
