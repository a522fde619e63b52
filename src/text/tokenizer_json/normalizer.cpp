#include "text/tokenizer_json/normalizer.h"

#include <unicode/normalizer2.h>
#include <unicode/unistr.h>

#include <map>
#include <memory>

#include "blip2/core/error.h"
#include "text/basic_words.h"
#include "text/tokenizer_json/component.h"
#include "text/tokenizer_json/precompiled_charsmap.h"
#include "text/tokenizer_json/text_pattern.h"
#include "text/unicode.h"

namespace blip2 {
namespace {

void check_length(std::size_t bytes, const JsonPlace& place) {
  if (bytes > kLongestText) place.complain("makes a text longer than " + std::to_string(kLongestText) + " bytes");
}

Normalizer read_sequence(const JsonPlace& place) {
  std::vector<Normalizer> steps;
  for (const auto& part : place.items("normalizers")) steps.push_back(read_normalizer(part));
  return [steps, place](const std::string& text) {
    std::string result = text;
    for (const auto& step : steps) {
      result = step(result);
      check_length(result.size(), place);
    }
    return result;
  };
}

/** NFC and its kin: `instance` is one of ICU's four functions. */
Normalizer unicode_form(const icu::Normalizer2* (*instance)(UErrorCode&)) {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* form = instance(status);
  if (U_FAILURE(status)) throw WorldError(std::string("ICU cannot normalise text: ") + u_errorName(status));
  return [form](const std::string& text) {
    UErrorCode failure = U_ZERO_ERROR;
    std::string result;
    form->normalize(icu::UnicodeString::fromUTF8(text), failure).toUTF8String(result);
    if (U_FAILURE(failure)) throw WorldError(std::string("ICU cannot normalise text: ") + u_errorName(failure));
    return result;
  };
}

Normalizer read_strip(const JsonPlace& place) {
  const bool left = place.flag("strip_left", true), right = place.flag("strip_right", true);
  return [left, right](const std::string& text) {
    CodePoints points = code_points(text);
    auto begin = points.begin(), end = points.end();
    while (right && begin != end && is_white_space(*(end - 1))) --end;
    while (left && begin != end && is_white_space(*begin)) ++begin;
    return to_utf8(CodePoints(begin, end));
  };
}

std::string without_marks(const std::string& text) {
  CodePoints points = code_points(text);
  std::erase_if(points, [](UChar32 c) { return in_category(c, U_GC_M_MASK); });
  return to_utf8(points);
}

Normalizer read_replace(const JsonPlace& place) {
  const TextPattern pattern = read_pattern(place.at("pattern", "a pattern"));
  const std::string content = place.text("content");
  return [pattern, content, place](const std::string& text) { return replace_matches(text, pattern, content, place); };
}

Normalizer read_prepend(const JsonPlace& place) {
  const std::string prefix = place.text("prepend");
  return [prefix](const std::string& text) { return text.empty() ? text : prefix + text; };
}

Normalizer read_precompiled(const JsonPlace& place) {
  const auto charsmap = std::make_shared<const PrecompiledCharsmap>(place);
  return [charsmap](const std::string& text) { return charsmap->apply(text); };
}

Normalizer read_bert(const JsonPlace& place) {
  BertNormalization steps;
  steps.clean_text = place.flag("clean_text", true);
  steps.handle_chinese_chars = place.flag("handle_chinese_chars", true);
  steps.lowercase = place.flag("lowercase", true);
  steps.strip_accents = place.flag("strip_accents", steps.lowercase);
  return [steps](const std::string& text) { return bert_normalize(text, steps); };
}

}  // namespace

Normalizer read_normalizer(const JsonPlace& place) {
  static const std::map<std::string, Normalizer (*)(const JsonPlace&)> kReaders = {
      {"Sequence", read_sequence},
      {"NFC", [](const JsonPlace&) { return unicode_form(icu::Normalizer2::getNFCInstance); }},
      {"NFD", [](const JsonPlace&) { return unicode_form(icu::Normalizer2::getNFDInstance); }},
      {"NFKC", [](const JsonPlace&) { return unicode_form(icu::Normalizer2::getNFKCInstance); }},
      {"NFKD", [](const JsonPlace&) { return unicode_form(icu::Normalizer2::getNFKDInstance); }},
      {"Lowercase",
       [](const JsonPlace&) -> Normalizer {
         return [](const std::string& text) { return to_utf8(lower_case(code_points(text))); };
       }},
      {"Strip", read_strip},
      {"StripAccents", [](const JsonPlace&) -> Normalizer { return without_marks; }},
      {"Replace", read_replace},
      {"Prepend", read_prepend},
      {"Precompiled", read_precompiled},
      {"BertNormalizer", read_bert}};
  return read_component(place, kReaders);
}

}  // namespace blip2
