// WordPiece's cut of one word (Hugging Face 6.4): from the left, the longest piece that the vocabulary holds, where
// pieces behind the first carry a mark. A word of which a part is in no piece is unknown as a whole.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace blip2 {

struct WordPieceRule {
  std::string continuation = "##";
  std::int64_t max_input_chars_per_word = 100;
  std::int64_t unknown_id = 0;
};

/** Appends the ids of the word's pieces, or the unknown id. */
void append_word_pieces(const std::string& word, const std::unordered_map<std::string, std::int64_t>& vocabulary,
                        const WordPieceRule& rule, std::vector<std::int64_t>& ids);

}  // namespace blip2
