#include "text/tokenizer_json/pre_tokenizer.h"

#include <algorithm>
#include <map>

#include "blip2/text/byte_bpe.h"
#include "text/basic_words.h"
#include "text/tokenizer_json/component.h"
#include "text/tokenizer_json/metaspace.h"
#include "text/tokenizer_json/text_pattern.h"

namespace blip2 {
namespace {

/** Runs `cut_word(word, words)` over all words, which appends what becomes of each. */
template <typename CutWord>
PreTokenizer over_words(CutWord cut_word) {
  return [cut_word](std::vector<PreToken> words) {
    std::vector<PreToken> result;
    for (auto& word : words) cut_word(std::move(word), result);
    return result;
  };
}

void append_pieces(const PreToken& word, const std::vector<TextSpan>& spans, SplitBehavior behavior,
                   std::vector<PreToken>& words) {
  for (const auto& piece : cut(spans, behavior)) {
    words.push_back({word.text.substr(piece.begin, piece.end - piece.begin), word.begins_text && piece.begin == 0});
  }
}

PreTokenizer split_at(TextPattern pattern, SplitBehavior behavior) {
  return over_words([pattern = std::move(pattern), behavior](const PreToken& word, std::vector<PreToken>& words) {
    append_pieces(word, pattern(word.text), behavior, words);
  });
}

PreTokenizer read_sequence(const JsonPlace& place) {
  std::vector<PreTokenizer> steps;
  for (const auto& part : place.items("pretokenizers")) steps.push_back(read_pre_tokenizer(part));
  return [steps](std::vector<PreToken> words) {
    for (const auto& step : steps) words = step(std::move(words));
    return words;
  };
}

std::string in_byte_characters(const std::string& text) {
  std::string result;
  result.reserve(text.size() + text.size() / 4);
  for (const char byte : text) result += byte_characters()[static_cast<unsigned char>(byte)];
  return result;
}

PreTokenizer read_byte_level(const JsonPlace& place) {
  const bool add_prefix_space = place.flag("add_prefix_space", true), use_regex = place.flag("use_regex", true);
  return over_words([=](PreToken word, std::vector<PreToken>& words) {
    if (add_prefix_space && !word.text.starts_with(' ')) word.text.insert(0, 1, ' ');
    const auto parts = use_regex ? byte_bpe_words(word.text) : std::vector<std::string>{word.text};
    for (const auto& part : parts) {
      words.push_back({in_byte_characters(part), word.begins_text && &part == &parts.front()});
    }
  });
}

PreTokenizer pre_tokenize_metaspace(const JsonPlace& place) {
  const Metaspace options = read_metaspace(place);
  const TextPattern space = string_pattern(" ");
  return over_words([options, space, place](const PreToken& word, std::vector<PreToken>& words) {
    PreToken changed{replace_matches(word.text, space, options.replacement, place), word.begins_text};
    const bool prepends = options.prepend_always || (options.prepend_first && word.begins_text);
    if (prepends && !changed.text.starts_with(options.replacement)) changed.text.insert(0, options.replacement);
    if (!options.split) {
      words.push_back(std::move(changed));
      return;
    }
    for (std::size_t begin = 0; begin < changed.text.size();) {
      const std::size_t end = std::min(changed.text.find(options.replacement, begin + 1), changed.text.size());
      words.push_back({changed.text.substr(begin, end - begin), changed.begins_text && begin == 0});
      begin = end;
    }
  });
}

enum class CharacterKind { kSpace, kWord, kOther };

CharacterKind kind_of(UChar32 c) {
  if (is_white_space(c)) return CharacterKind::kSpace;
  return is_word_character(c) ? CharacterKind::kWord : CharacterKind::kOther;
}

/** Runs of word characters, and runs of all others but white space. */
PreTokenizer read_whitespace(const JsonPlace&) {
  return over_words([](const PreToken& word, std::vector<PreToken>& words) {
    std::size_t begin = 0;
    CharacterKind kind = CharacterKind::kSpace;
    auto finish = [&](std::size_t end) {
      if (kind == CharacterKind::kSpace || end == begin) return;
      words.push_back({word.text.substr(begin, end - begin), word.begins_text && begin == 0});
    };
    for (std::size_t at = 0; at < word.text.size();) {
      const std::size_t first = at;
      UChar32 c;
      U8_NEXT_OR_FFFD(word.text.data(), at, word.text.size(), c);
      if (kind_of(c) == kind) continue;
      finish(first);
      begin = first;
      kind = kind_of(c);
    }
    finish(word.text.size());
  });
}

PreTokenizer read_bert(const JsonPlace&) {
  return over_words([](const PreToken& word, std::vector<PreToken>& words) {
    const auto parts = bert_words(word.text);
    for (const auto& part : parts) {
      words.push_back({part, word.begins_text && &part == &parts.front() && word.text.starts_with(part)});
    }
  });
}

PreTokenizer read_split(const JsonPlace& place) {
  const TextPattern pattern = read_pattern(place.at("pattern", "a pattern"));
  const SplitBehavior behavior = read_behavior(place);
  if (!place.flag("invert", false)) return split_at(pattern, behavior);
  return over_words([pattern, behavior](const PreToken& word, std::vector<PreToken>& words) {
    auto spans = pattern(word.text);
    for (auto& span : spans) span.is_match = !span.is_match;
    append_pieces(word, spans, behavior, words);
  });
}

PreTokenizer read_punctuation(const JsonPlace& place) {
  return split_at(character_pattern(is_bert_punctuation), read_behavior(place, SplitBehavior::kIsolated));
}

PreTokenizer read_digits(const JsonPlace& place) {
  const bool individual = place.flag("individual_digits", false);
  return split_at(character_pattern([](UChar32 c) { return in_category(c, U_GC_N_MASK); }),
                  individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous);
}

}  // namespace

PreTokenizer read_pre_tokenizer(const JsonPlace& place) {
  static const std::map<std::string, PreTokenizer (*)(const JsonPlace&)> kReaders = {
      {"Sequence", read_sequence},
      {"ByteLevel", read_byte_level},
      {"Metaspace", pre_tokenize_metaspace},
      {"WhitespaceSplit",
       [](const JsonPlace&) { return split_at(character_pattern(is_white_space), SplitBehavior::kRemoved); }},
      {"Whitespace", read_whitespace},
      {"BertPreTokenizer", read_bert},
      {"Split", read_split},
      {"Punctuation", read_punctuation},
      {"Digits", read_digits}};
  return read_component(place, kReaders);
}

}  // namespace blip2
