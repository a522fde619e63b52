#include "text/word_pieces.h"

#include "text/unicode.h"

namespace blip2 {

void append_word_pieces(const std::string& word, const std::unordered_map<std::string, std::int64_t>& vocabulary,
                        const WordPieceRule& rule, std::vector<std::int64_t>& ids) {
  std::vector<std::size_t> offsets = {0};  // of each code point, in bytes
  for (const UChar32 c : code_points(word)) offsets.push_back(offsets.back() + static_cast<std::size_t>(U8_LENGTH(c)));
  const std::size_t length = offsets.size() - 1;
  const std::size_t first_piece = ids.size();
  bool known = static_cast<std::int64_t>(length) <= rule.max_input_chars_per_word;
  for (std::size_t start = 0; known && start < length;) {
    std::string piece = (start > 0 ? rule.continuation : "") + word.substr(offsets[start]);
    std::size_t end = length;
    auto found = vocabulary.find(piece);
    while (found == vocabulary.end() && --end > start) {
      piece.resize(piece.size() - (offsets[end + 1] - offsets[end]));
      found = vocabulary.find(piece);
    }
    known = found != vocabulary.end();
    if (known) ids.push_back(found->second);
    start = end;
  }
  if (known) return;
  ids.resize(first_piece);
  ids.push_back(rule.unknown_id);
}

}  // namespace blip2
