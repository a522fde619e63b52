#include "blip2/text/text_processors.h"

#include <unicode/locid.h>
#include <unicode/unistr.h>

#include <string_view>

#include "blip2/core/error.h"
#include "text/unicode.h"

namespace blip2 {
namespace {

constexpr std::string_view kRemoved = ".!\"()*#:;~";

/** The whole text at once: the lower case of a final sigma depends on its neighbours, as in Python. */
CodePoints lower_case(const std::string& text) {
  std::string lowered;
  icu::UnicodeString::fromUTF8(text).toLower(icu::Locale::getRoot()).toUTF8String(lowered);
  return code_points(lowered);
}

bool is_removed(UChar32 c) {
  return c < 128 && kRemoved.find(static_cast<char>(c)) != std::string_view::npos;
}

/** `\s` of Python, which counts the four separators of ASCII as well. */
bool is_python_space(UChar32 c) {
  return is_white_space(c) || (c >= 0x1C && c <= 0x1F);
}

/** Cuts before the space that ends word number `max_words`. */
std::string first_words(std::string text, std::int64_t max_words) {
  if (max_words < 0) throw UserError("max_words must not be negative, got " + std::to_string(max_words));
  if (max_words == 0) return "";
  std::size_t at = text.find(' ');
  for (std::int64_t words = 1; words < max_words && at != std::string::npos; ++words) at = text.find(' ', at + 1);
  if (at != std::string::npos) text.resize(at);
  return text;
}

void strip_right(std::string& text, char c) {
  text.resize(text.find_last_not_of(c) + 1);
}

}  // namespace

std::string process_caption(const std::string& text, std::int64_t max_words, const std::string& prompt) {
  CodePoints points = lower_case(text);
  for (UChar32& c : points) {
    if (is_removed(c)) c = ' ';
  }
  std::string caption;
  for (std::size_t i = 0; i < points.size();) {
    std::size_t end = i;
    while (end < points.size() && is_python_space(points[end])) ++end;
    // One white space alone stays what it is, a tab for instance.
    append_utf8(caption, end - i >= 2 ? ' ' : points[i]);
    i = end - i >= 2 ? end : i + 1;
  }
  strip_right(caption, '\n');
  strip_right(caption, ' ');
  caption.erase(0, caption.find_first_not_of(' '));
  return prompt + first_words(std::move(caption), max_words);
}

std::string process_question(const std::string& text, std::int64_t max_words) {
  std::string question;
  for (const UChar32 c : lower_case(text)) {
    if (!is_removed(c)) append_utf8(question, c);
  }
  strip_right(question, ' ');
  return first_words(std::move(question), max_words);
}

}  // namespace blip2
