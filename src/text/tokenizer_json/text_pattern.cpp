#include "text/tokenizer_json/text_pattern.h"

#include <unicode/regex.h>

#include <algorithm>

#include "blip2/core/error.h"
#include "core/in_quotes.h"

namespace blip2 {
namespace {

// ICU's steps, some milliseconds each, and bytes of its backtracking stack.
constexpr std::int32_t kMostSteps = 1000;
constexpr std::int32_t kMostStackBytes = 64'000'000;

/** Collects matches, filling in what lies between them. */
class Spans {
 public:
  void add(std::size_t begin, std::size_t end) {
    if (begin > covered_) spans_.push_back({covered_, begin, false});
    spans_.push_back({begin, end, true});
    covered_ = end;
  }
  std::vector<TextSpan> finish(std::size_t length) {
    if (covered_ < length) spans_.push_back({covered_, length, false});
    return std::move(spans_);
  }

 private:
  std::vector<TextSpan> spans_;
  std::size_t covered_ = 0;
};

/**
 * Classes that the two dialects read differently, written out; both allow a class within a class. To the reference six
 * numbers of Latin-1 are word characters.
 */
std::string in_icu_dialect(const std::string& pattern) {
  const std::string word = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\u00B2\u00B3\u00B9\u00BC-\u00BE])";
  std::string result;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char next = pattern[i] == '\\' && i + 1 < pattern.size() ? pattern[++i] : '\0';
    switch (next) {
      case '\0':
        result += pattern[i];
        break;
      case 's':
        result += "[\\p{White_Space}]";
        break;
      case 'S':
        result += "[^\\p{White_Space}]";
        break;
      case 'w':
        result += "[" + word;
        break;
      case 'W':
        result += "[^" + word;
        break;
      case 'h':
        result += "[0-9a-fA-F]";
        break;
      case 'H':
        result += "[^0-9a-fA-F]";
        break;
      default:
        result += {'\\', next};
    }
  }
  return result;
}

/** An ICU object that reads UTF-8 where it lies. */
class Utf8Text {
 public:
  Utf8Text(const std::string& text, UErrorCode& status)
      : text_(utext_openUTF8(nullptr, text.data(), static_cast<std::int64_t>(text.size()), &status)) {}
  ~Utf8Text() { utext_close(text_); }
  Utf8Text(const Utf8Text&) = delete;
  Utf8Text& operator=(const Utf8Text&) = delete;
  UText* get() const { return text_; }

 private:
  UText* text_;
};

std::vector<TextSpan> find_all(const icu::RegexPattern& pattern, const std::string& text, const std::string& place) {
  UErrorCode status = U_ZERO_ERROR;
  const std::unique_ptr<icu::RegexMatcher> matcher(pattern.matcher(status));
  const Utf8Text utf8(text, status);
  if (U_SUCCESS(status)) {
    matcher->reset(utf8.get());
    matcher->setTimeLimit(kMostSteps, status);
    matcher->setStackLimit(kMostStackBytes, status);
  }
  Spans spans;
  std::int64_t last_end = -1;
  while (U_SUCCESS(status) && matcher->find(status)) {
    const std::int64_t begin = matcher->start64(status), end = matcher->end64(status);
    // An empty match right behind another one is none.
    if (begin != end || begin != last_end) spans.add(static_cast<std::size_t>(begin), static_cast<std::size_t>(end));
    last_end = end;
  }
  if (status == U_REGEX_TIME_OUT || status == U_REGEX_STACK_OVERFLOW) {
    throw UserError(place + " takes too long to search a text of " + std::to_string(text.size()) +
                    " bytes, expected a regular expression that does not try every way to match");
  }
  if (U_FAILURE(status)) throw WorldError(std::string("ICU cannot search a text: ") + u_errorName(status));
  return spans.finish(text.size());
}

TextPattern regex_pattern(const std::string& expression, const JsonPlace& place) {
  UErrorCode status = U_ZERO_ERROR;
  UParseError ignored;
  const auto source = icu::UnicodeString::fromUTF8(in_icu_dialect(expression));
  const std::shared_ptr<const icu::RegexPattern> pattern(
      icu::RegexPattern::compile(source, UREGEX_MULTILINE | UREGEX_UNIX_LINES, ignored, status));
  if (U_FAILURE(status)) place.refuse("a regular expression that ICU reads");
  const std::string sentence_start = "'" + place.file() + "': " + in_quotes(place.path());
  return [pattern, sentence_start](const std::string& text) { return find_all(*pattern, text, sentence_start); };
}

}  // namespace

TextPattern string_pattern(const std::string& content) {
  return [content](const std::string& text) {
    Spans spans;
    if (!content.empty()) {
      for (std::size_t at = 0; (at = text.find(content, at)) != std::string::npos; at += content.size()) {
        spans.add(at, at + content.size());
      }
    }
    return spans.finish(text.size());
  };
}

TextPattern read_pattern(const JsonPlace& pattern) {
  if (pattern.value().is_object() && pattern.has("String")) return string_pattern(pattern.text("String"));
  if (pattern.value().is_object() && pattern.has("Regex")) {
    return regex_pattern(pattern.text("Regex"), pattern.at("Regex", ""));
  }
  pattern.refuse(R"({"String": ...} or {"Regex": ...})");
}

TextPattern character_pattern(std::function<bool(UChar32)> is_match) {
  return [is_match = std::move(is_match)](const std::string& text) {
    Spans spans;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t begin = at;
      UChar32 c;
      U8_NEXT_OR_FFFD(text.data(), at, text.size(), c);
      if (is_match(c)) spans.add(begin, at);
    }
    return spans.finish(text.size());
  };
}

std::string replace_matches(const std::string& text, const TextPattern& pattern, const std::string& content,
                            const JsonPlace& place) {
  std::string result;
  for (const auto& span : pattern(text)) {
    if (span.is_match) {
      result += content;
    } else {
      result.append(text, span.begin, span.end - span.begin);
    }
    if (result.size() > kLongestText) {
      place.complain("makes a text longer than " + std::to_string(kLongestText) + " bytes");
    }
  }
  return result;
}

SplitBehavior read_behavior(const JsonPlace& place) {
  const std::string name = place.text("behavior");
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  place.at("behavior", "").refuse("Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous");
}

SplitBehavior read_behavior(const JsonPlace& place, SplitBehavior otherwise) {
  return place.has("behavior") ? read_behavior(place) : otherwise;
}

std::vector<TextSpan> cut(const std::vector<TextSpan>& spans, SplitBehavior behavior) {
  std::vector<TextSpan> pieces;
  if (behavior == SplitBehavior::kMergedWithNext) {
    for (std::size_t i = spans.size(); i-- > 0;) {
      const bool joins = spans[i].is_match && i + 1 < spans.size() && !spans[i + 1].is_match;
      if (joins) {
        pieces.back().begin = spans[i].begin;
      } else {
        pieces.push_back(spans[i]);
      }
    }
    std::reverse(pieces.begin(), pieces.end());
  } else {
    for (std::size_t i = 0; i < spans.size(); ++i) {
      if (behavior == SplitBehavior::kRemoved && spans[i].is_match) continue;
      const bool joins =
          i > 0 && ((behavior == SplitBehavior::kContiguous && spans[i].is_match == spans[i - 1].is_match) ||
                    (behavior == SplitBehavior::kMergedWithPrevious && spans[i].is_match && !spans[i - 1].is_match));
      if (joins) {
        pieces.back().end = spans[i].end;
      } else {
        pieces.push_back(spans[i]);
      }
    }
  }
  std::erase_if(pieces, [](const TextSpan& piece) { return piece.begin == piece.end; });
  return pieces;
}

}  // namespace blip2
