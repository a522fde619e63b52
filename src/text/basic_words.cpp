#include "text/basic_words.h"

#include <unicode/locid.h>
#include <unicode/normalizer2.h>
#include <unicode/unistr.h>

#include "blip2/core/error.h"
#include "text/unicode.h"

namespace blip2 {
namespace {

bool is_cjk(UChar32 c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
         (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

// The reference (Hugging Face's fast tokenizer) carries the category tables of Unicode 8: what came later has no
// category for it, is neither control nor punctuation nor accent, and six characters have since changed theirs.
std::uint32_t category_in_unicode_8(UChar32 c) {
  if (c == 0x166D || c == 0x111C9) return U_GC_PO_MASK;
  if (c == 0x1734) return U_GC_MN_MASK;
  if (c == 0x1885 || c == 0x1886 || c == 0xA9BD) return 0;
  UVersionInfo age;
  u_charAge(c, age);
  return age[0] <= 8 ? U_MASK(u_charType(c)) : 0;
}

bool is_control(UChar32 c) {
  if (c == '\t' || c == '\n' || c == '\r') return false;
  return (category_in_unicode_8(c) & (U_GC_CC_MASK | U_GC_CF_MASK | U_GC_CO_MASK)) != 0;
}

bool is_accent(UChar32 c) {
  return c > 127 && (category_in_unicode_8(c) & U_GC_MN_MASK) != 0;
}

CodePoints clean(const CodePoints& points) {
  CodePoints result;
  for (const UChar32 c : points) {
    if (c == 0 || c == 0xFFFD || is_control(c)) continue;
    result.push_back(is_white_space(c) ? ' ' : c);
  }
  return result;
}

CodePoints space_out_cjk(const CodePoints& points) {
  CodePoints result;
  for (const UChar32 c : points) {
    if (is_cjk(c)) {
      result.insert(result.end(), {' ', c, ' '});
    } else {
      result.push_back(c);
    }
  }
  return result;
}

CodePoints strip_accents(const CodePoints& points) {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* nfd = icu::Normalizer2::getNFDInstance(status);
  const icu::UnicodeString text = icu::UnicodeString::fromUTF8(to_utf8(points));
  const icu::UnicodeString decomposed = nfd->normalize(text, status);
  if (U_FAILURE(status)) throw WorldError(std::string("ICU cannot normalise text: ") + u_errorName(status));
  CodePoints result;
  for (std::int32_t i = 0; i < decomposed.length(); i = decomposed.moveIndex32(i, 1)) {
    const UChar32 c = decomposed.char32At(i);
    if (!is_accent(c)) result.push_back(c);
  }
  return result;
}

CodePoints normalize(CodePoints points, const BertNormalization& steps) {
  if (steps.clean_text) points = clean(points);
  if (steps.handle_chinese_chars) points = space_out_cjk(points);
  if (steps.strip_accents) points = strip_accents(points);
  return steps.lowercase ? lower_case(points) : points;
}

std::vector<std::string> words_of(const CodePoints& points) {
  std::vector<std::string> words;
  std::string word;
  auto finish = [&] {
    if (!word.empty()) words.push_back(word);
    word.clear();
  };
  for (const UChar32 c : points) {
    const bool isolated = is_bert_punctuation(c);
    if (isolated || is_white_space(c)) finish();
    if (is_white_space(c)) continue;
    append_utf8(word, c);
    if (isolated) finish();
  }
  finish();
  return words;
}

}  // namespace

bool is_bert_punctuation(UChar32 c) {
  if ((c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126)) return true;
  return c > 127 && (category_in_unicode_8(c) & U_GC_P_MASK) != 0;
}

std::string bert_normalize(const std::string& text, const BertNormalization& steps) {
  return to_utf8(normalize(code_points(text), steps));
}

std::vector<std::string> bert_words(const std::string& text) {
  return words_of(code_points(text));
}

std::vector<std::string> basic_words(const std::string& text, bool lowercase) {
  BertNormalization steps;
  steps.strip_accents = steps.lowercase = lowercase;
  return words_of(normalize(code_points(text), steps));
}

}  // namespace blip2
