// What LAVIS does to captions and questions before they are tokenized (LAVIS, section 6). The two differ: a caption's
// punctuation becomes spaces that are then collapsed, a question's is deleted and its spaces stay, where each further
// space counts as a word.
#pragma once

#include <cstdint>
#include <string>

namespace blip2 {

/**
 * `blip_caption`: lower case, each of . ! " ( ) * # : ; ~ a space, runs of white space one space, trimmed, the first
 * `max_words` words, `prompt` in front as it is. Invalid UTF-8 becomes U+FFFD. Throws UserError when max_words is
 * negative.
 */
std::string process_caption(const std::string& text, std::int64_t max_words = 50, const std::string& prompt = "");

/**
 * `blip_question`: lower case, the same characters deleted, spaces at the end removed, the first `max_words` words.
 * Invalid UTF-8 becomes U+FFFD. Throws UserError when max_words is negative.
 */
std::string process_question(const std::string& text, std::int64_t max_words = 50);

}  // namespace blip2
