#include "blip2/text/vocabulary.h"

#include <algorithm>
#include <map>
#include <set>

#include "blip2/core/atomic_file.h"
#include "blip2/core/error.h"
#include "text/basic_words.h"
#include "text/unicode.h"

namespace blip2 {

std::vector<std::string> build_wordpiece_vocabulary(const std::vector<std::string>& texts, std::int64_t size) {
  std::map<std::string, std::int64_t> counts;
  std::set<std::string> characters;
  for (const auto& text : texts) {
    for (const auto& word : basic_words(text, /*lowercase=*/true)) ++counts[word];
  }
  for (const auto& [word, count] : counts) {
    for (const UChar32 c : code_points(word)) characters.insert(to_utf8({c}));
  }
  std::vector<std::string> vocabulary = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
  for (const auto& character : characters) vocabulary.push_back(character);
  for (const auto& character : characters) vocabulary.push_back("##" + character);
  if (static_cast<std::int64_t>(vocabulary.size()) > size) {
    throw UserError("a WordPiece vocabulary of these texts needs at least " + std::to_string(vocabulary.size()) +
                    " tokens for its characters, got " + std::to_string(size));
  }
  std::vector<std::pair<std::string, std::int64_t>> words(counts.begin(), counts.end());
  std::stable_sort(words.begin(), words.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  for (const auto& [word, count] : words) {
    if (static_cast<std::int64_t>(vocabulary.size()) == size) break;
    if (characters.count(word) == 0) vocabulary.push_back(word);
  }
  return vocabulary;
}

void write_wordpiece_vocabulary(const std::vector<std::string>& vocabulary, const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) throw WorldError("cannot make the folder '" + folder.string() + "': " + error.message());
  std::string text;
  for (const auto& token : vocabulary) text += token + "\n";
  write_file_atomically(folder / "vocab.txt", text);
}

}  // namespace blip2
