#include "blip2/text/bpe_training.h"

#include "blip2/core/error.h"

namespace blip2 {
namespace {

const std::vector<std::string> kSpecialTokens = {"<s>", "<pad>", "</s>", "<unk>"};

struct Word {
  std::vector<std::string> symbols;
  std::int64_t count;
};
using Pair = std::pair<std::string, std::string>;

std::vector<Word> count_words(const std::vector<std::string>& texts) {
  std::map<std::string, std::int64_t> counts;
  for (const auto& text : texts) {
    for (const auto& word : byte_bpe_words(text)) ++counts[word];
  }
  std::vector<Word> words;
  for (const auto& [text, count] : counts) {
    Word word{{}, count};
    for (const char byte : text) word.symbols.push_back(byte_characters()[static_cast<unsigned char>(byte)]);
    words.push_back(std::move(word));
  }
  return words;
}

/** The most frequent pair and its count; the first in order among equals. */
std::pair<Pair, std::int64_t> most_frequent_pair(const std::vector<Word>& words) {
  std::map<Pair, std::int64_t> counts;
  for (const auto& word : words) {
    for (std::size_t i = 1; i < word.symbols.size(); ++i) counts[{word.symbols[i - 1], word.symbols[i]}] += word.count;
  }
  std::pair<Pair, std::int64_t> best{{}, 0};
  for (const auto& [pair, count] : counts) {
    if (count > best.second) best = {pair, count};
  }
  return best;
}

void merge(std::vector<Word>& words, const Pair& pair) {
  for (auto& word : words) {
    std::vector<std::string> merged;
    for (std::size_t i = 0; i < word.symbols.size(); ++i) {
      const bool hit =
          i + 1 < word.symbols.size() && word.symbols[i] == pair.first && word.symbols[i + 1] == pair.second;
      merged.push_back(hit ? pair.first + pair.second : word.symbols[i]);
      if (hit) ++i;
    }
    word.symbols = std::move(merged);
  }
}

}  // namespace

ByteBpeVocabulary train_byte_bpe(const std::vector<std::string>& texts, std::int64_t size) {
  ByteBpeVocabulary vocabulary;
  auto add = [&](const std::string& token) {
    vocabulary.ids.emplace(token, static_cast<std::int64_t>(vocabulary.ids.size()));
  };
  for (const auto& token : kSpecialTokens) add(token);
  for (const auto& character : byte_characters()) add(character);
  if (size < static_cast<std::int64_t>(vocabulary.ids.size())) {
    throw UserError("a byte-level vocabulary needs at least " + std::to_string(vocabulary.ids.size()) +
                    " tokens, got " + std::to_string(size));
  }
  std::vector<Word> words = count_words(texts);
  while (static_cast<std::int64_t>(vocabulary.ids.size()) < size) {
    const auto [pair, count] = most_frequent_pair(words);
    if (count < 2) break;
    merge(words, pair);
    vocabulary.merges.push_back(pair);
    add(pair.first + pair.second);
  }
  return vocabulary;
}

std::unique_ptr<Tokenizer> make_byte_bpe(ByteBpeVocabulary vocabulary) {
  ByteBpeOptions options;
  for (const auto& token : kSpecialTokens) options.special_tokens[token] = vocabulary.ids.at(token);
  return std::make_unique<ByteBpeTokenizer>(std::move(vocabulary), options, "trained vocabulary");
}

}  // namespace blip2
