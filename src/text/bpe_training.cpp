// Counts are kept up to date: a merge touches only the words that hold its pair. An entry of the queue whose count has
// fallen since is put back with the true one.
#include "blip2/text/bpe_training.h"

#include <algorithm>
#include <queue>
#include <unordered_set>

#include "blip2/core/error.h"

namespace blip2 {
namespace {

const std::vector<std::string> kSpecialTokens = {"<s>", "<pad>", "</s>", "<unk>"};
constexpr std::int64_t kMaxSize = 1 << 24;

using Pair = std::pair<std::uint32_t, std::uint32_t>;

std::uint64_t key_of(Pair pair) {
  return std::uint64_t{pair.first} << 32 | pair.second;
}

struct Entry {
  std::int64_t count;
  Pair pair;
  /** The greatest entry is the next merge: the highest count, then the lower ids. */
  bool operator<(const Entry& other) const { return count != other.count ? count < other.count : pair > other.pair; }
};

class PairCounts {
 public:
  PairCounts(const std::vector<std::string>& texts, const std::vector<std::uint32_t>& byte_ids) {
    std::map<std::string, std::int64_t> counts;
    for (const auto& text : texts) {
      for (auto& word : byte_bpe_words(text)) ++counts[std::move(word)];
    }
    for (const auto& [text, count] : counts) {
      Word word{{}, count};
      for (const char byte : text) word.symbols.push_back(byte_ids[static_cast<unsigned char>(byte)]);
      words_.push_back(std::move(word));
      count_pairs(words_.size() - 1, +1);
    }
    for (const auto& [key, count] : counts_) {
      queue_.push({count, {static_cast<std::uint32_t>(key >> 32), static_cast<std::uint32_t>(key)}});
    }
  }

  /** The most frequent pair that occurs at least twice. */
  std::optional<Pair> next() {
    while (!queue_.empty()) {
      const Entry best = queue_.top();
      queue_.pop();
      const std::int64_t count = counts_[key_of(best.pair)];
      if (count == best.count && count >= 2) return best.pair;
      if (count >= 2 && count < best.count) queue_.push({count, best.pair});  // a rise has pushed its own entry
    }
    return std::nullopt;
  }

  void merge(Pair pair, std::uint32_t merged) {
    const auto where = std::move(places_[key_of(pair)]);
    places_.erase(key_of(pair));
    std::unordered_set<std::uint64_t> risen;
    for (const std::size_t index : where) {
      count_pairs(index, -1);
      auto& symbols = words_[index].symbols;
      std::size_t out = 0;
      for (std::size_t i = 0; i < symbols.size(); ++out) {
        const bool hit = i + 1 < symbols.size() && Pair(symbols[i], symbols[i + 1]) == pair;
        symbols[out] = hit ? merged : symbols[i];
        i += hit ? 2 : 1;
      }
      symbols.resize(out);
      count_pairs(index, +1);
      for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
        if (symbols[i] == merged || symbols[i + 1] == merged) risen.insert(key_of({symbols[i], symbols[i + 1]}));
      }
    }
    for (const std::uint64_t key : risen) {
      queue_.push({counts_[key], {static_cast<std::uint32_t>(key >> 32), static_cast<std::uint32_t>(key)}});
    }
  }

 private:
  struct Word {
    std::vector<std::uint32_t> symbols;
    std::int64_t count;
  };

  void count_pairs(std::size_t index, std::int64_t sign) {
    const Word& word = words_[index];
    for (std::size_t i = 0; i + 1 < word.symbols.size(); ++i) {
      const std::uint64_t key = key_of({word.symbols[i], word.symbols[i + 1]});
      counts_[key] += sign * word.count;
      if (sign > 0) places_[key].insert(index);
    }
  }

  std::vector<Word> words_;
  std::unordered_map<std::uint64_t, std::int64_t> counts_;
  std::unordered_map<std::uint64_t, std::unordered_set<std::size_t>> places_;
  std::priority_queue<Entry> queue_;
};

}  // namespace

ByteBpeVocabulary train_byte_bpe(const std::vector<std::string>& texts, std::int64_t size) {
  std::vector<std::string> tokens = kSpecialTokens;
  tokens.insert(tokens.end(), byte_characters().begin(), byte_characters().end());
  std::sort(tokens.begin() + static_cast<std::ptrdiff_t>(kSpecialTokens.size()), tokens.end());
  if (size < static_cast<std::int64_t>(tokens.size()) || size > kMaxSize) {
    throw UserError("a byte-level vocabulary must have " + std::to_string(tokens.size()) + " to " +
                    std::to_string(kMaxSize) + " tokens, got the size " + std::to_string(size));
  }
  ByteBpeVocabulary vocabulary;
  for (std::size_t id = 0; id < tokens.size(); ++id) vocabulary.ids[tokens[id]] = static_cast<std::int64_t>(id);
  std::vector<std::uint32_t> byte_ids;
  for (const auto& character : byte_characters()) {
    byte_ids.push_back(static_cast<std::uint32_t>(vocabulary.ids.at(character)));
  }
  PairCounts counts(texts, byte_ids);
  while (static_cast<std::int64_t>(tokens.size()) < size) {
    const auto pair = counts.next();
    if (!pair) break;
    vocabulary.merges.emplace_back(tokens[pair->first], tokens[pair->second]);
    // Should two merges make the same token, "a" + "bc" and "ab" + "c", they share its id.
    const std::string token = tokens[pair->first] + tokens[pair->second];
    const auto [found, is_new] = vocabulary.ids.emplace(token, static_cast<std::int64_t>(tokens.size()));
    if (is_new) tokens.push_back(token);
    counts.merge(*pair, static_cast<std::uint32_t>(found->second));
  }
  return vocabulary;
}

std::unique_ptr<Tokenizer> make_byte_bpe(ByteBpeVocabulary vocabulary) {
  return std::make_unique<ByteBpeTokenizer>(std::move(vocabulary), ByteBpeOptions(), "trained vocabulary");
}

}  // namespace blip2
