// Code points and their classes, through ICU.
#pragma once

#include <unicode/uchar.h>
#include <unicode/utf8.h>

#include <string>
#include <vector>

namespace blip2 {

using CodePoints = std::vector<UChar32>;

/** Code points of UTF-8; every invalid byte sequence becomes U+FFFD. */
inline CodePoints code_points(const std::string& text) {
  CodePoints result;
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(text.data());
  const auto length = static_cast<std::int32_t>(text.size());
  for (std::int32_t i = 0; i < length;) {
    UChar32 c;
    U8_NEXT_OR_FFFD(bytes, i, length, c);
    result.push_back(c);
  }
  return result;
}

inline void append_utf8(std::string& text, UChar32 c) {
  char buffer[4];
  std::int32_t length = 0;
  U8_APPEND_UNSAFE(buffer, length, c);
  text.append(buffer, static_cast<std::size_t>(length));
}

inline std::string to_utf8(const CodePoints& points) {
  std::string text;
  for (const UChar32 c : points) append_utf8(text, c);
  return text;
}

/**
 * Code point by code point: no rule that looks at the neighbours (final sigma) may apply. One letter becomes two:
 * U+0130.
 */
inline CodePoints lower_case(const CodePoints& points) {
  CodePoints result;
  result.reserve(points.size());
  for (const UChar32 c : points) {
    result.push_back(u_tolower(c));
    if (c == 0x130) result.push_back(0x307);
  }
  return result;
}

/** Unicode's White_Space property. */
inline bool is_white_space(UChar32 c) {
  return u_hasBinaryProperty(c, UCHAR_WHITE_SPACE) != 0;
}
/** A character of \w in regular expressions (UTS 18): letters, marks, decimal digits, connectors and joiners. */
inline bool is_word_character(UChar32 c) {
  return u_hasBinaryProperty(c, UCHAR_ALPHABETIC) != 0 || u_hasBinaryProperty(c, UCHAR_JOIN_CONTROL) != 0 ||
         (U_MASK(u_charType(c)) & (U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK)) != 0;
}
inline bool in_category(UChar32 c, std::uint32_t mask) {
  return (U_MASK(u_charType(c)) & mask) != 0;
}

}  // namespace blip2
