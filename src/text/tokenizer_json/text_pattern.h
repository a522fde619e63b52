// What a tokenizer.json searches texts for: a string, a regular expression (read by ICU, the reference has Oniguruma),
// or characters of a kind; and the ways in which a text is cut at what was found. Surprise: in the reference's dialect
// `^` and `$` match at every line and only "\n" ends one.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "text/tokenizer_json/json_place.h"
#include "text/unicode.h"

namespace blip2 {

/** No step makes a text longer than this: replacements of replacements could grow without bound. */
inline constexpr std::size_t kLongestText = 100'000'000;

/** A stretch of a text, in bytes. */
struct TextSpan {
  std::size_t begin, end;
  bool is_match;
};

/** The whole of a text, cut at matches; empty stretches may be among them. Throws UserError for what takes too long. */
using TextPattern = std::function<std::vector<TextSpan>(const std::string&)>;

/** Every place of a string; of none where it is empty. */
TextPattern string_pattern(const std::string& content);

/** `{"String": "..."}` or `{"Regex": "..."}`. Throws UserError for what is neither, and for no regular expression. */
TextPattern read_pattern(const JsonPlace& pattern);

/** Every character of which this is true is a match of its own. */
TextPattern character_pattern(std::function<bool(UChar32)> is_match);

/** The text with every match replaced. Throws UserError naming the place when it gets longer than kLongestText. */
std::string replace_matches(const std::string& text, const TextPattern& pattern, const std::string& content,
                            const JsonPlace& place);

/** What becomes of a match: gone, a piece of its own, joined to a neighbour, or to other matches. */
enum class SplitBehavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

/** "Removed" and so on, under the key "behavior". */
SplitBehavior read_behavior(const JsonPlace& place);
SplitBehavior read_behavior(const JsonPlace& place, SplitBehavior otherwise);

/** The pieces that are left, without empty ones; `is_match` has no meaning any more. */
std::vector<TextSpan> cut(const std::vector<TextSpan>& spans, SplitBehavior behavior);

}  // namespace blip2
