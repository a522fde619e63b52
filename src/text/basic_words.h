// BERT's basic tokenizer (Hugging Face 6.4): what happens to a text before WordPiece cuts its words.
#pragma once

#include <string>
#include <vector>

namespace blip2 {

/** Cleaned, lower-cased (and stripped of accents) if asked, split at white space, punctuation and CJK characters. */
std::vector<std::string> basic_words(const std::string& text, bool lowercase);

}  // namespace blip2
