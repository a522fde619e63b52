// BERT's basic tokenizer (Hugging Face 6.4): what happens to a text before WordPiece cuts its words.
#pragma once

#include <unicode/umachine.h>

#include <string>
#include <vector>

namespace blip2 {

/** The four steps of BERT's normaliser, in this order. */
struct BertNormalization {
  /** Control characters go, white space becomes a space. */
  bool clean_text = true;
  /** A space on either side of every CJK ideograph. */
  bool handle_chinese_chars = true;
  bool strip_accents = true;
  bool lowercase = true;
};

std::string bert_normalize(const std::string& text, const BertNormalization& steps);

/** Split at white space; every punctuation character is a word. */
std::vector<std::string> bert_words(const std::string& text);

/** ASCII's symbols and Unicode's punctuation, as the reference knows it. */
bool is_bert_punctuation(UChar32 c);

/** Cleaned, lower-cased (and stripped of accents) if asked, split at white space, punctuation and CJK characters. */
std::vector<std::string> basic_words(const std::string& text, bool lowercase);

}  // namespace blip2
