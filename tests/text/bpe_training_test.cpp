// Training against its definition, and that what was trained loads and gives every text back.
#include "blip2/text/bpe_training.h"

#include <algorithm>

#include "blip2/core/random.h"
#include "blip2/text/load_tokenizer.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "text/reference_lines.h"

namespace blip2 {
namespace {

using Texts = std::vector<std::string>;
using Merges = std::vector<std::pair<std::string, std::string>>;

Texts odd_texts() {
  Texts texts;
  for (const auto& line : reference_lines(text_data("opt.jsonl"))) texts.push_back(line["text"]);
  return texts;
}

/** The definition: count all pairs anew before every merge. */
Merges merges_by_recounting(const Texts& texts, std::size_t size) {
  auto ids = train_byte_bpe({}, 260).ids;
  std::map<std::string, std::pair<Texts, int>> words;
  for (const auto& text : texts) {
    for (const auto& word : byte_bpe_words(text)) {
      auto& [symbols, count] = words[word];
      if (++count > 1) continue;
      for (const char byte : word) symbols.push_back(byte_characters()[static_cast<unsigned char>(byte)]);
    }
  }
  Merges merges;
  while (ids.size() < size) {
    std::map<std::pair<std::int64_t, std::int64_t>, std::pair<int, std::pair<std::string, std::string>>> counts;
    for (const auto& [word, entry] : words) {
      for (std::size_t i = 0; i + 1 < entry.first.size(); ++i) {
        auto& count = counts[{ids.at(entry.first[i]), ids.at(entry.first[i + 1])}];
        count.first += entry.second;
        count.second = {entry.first[i], entry.first[i + 1]};
      }
    }
    const auto best = std::max_element(counts.begin(), counts.end(), [](const auto& a, const auto& b) {
      return a.second.first < b.second.first;  // the first of equals, which has the lower ids
    });
    if (best == counts.end() || best->second.first < 2) break;
    const auto [left, right] = best->second.second;
    merges.emplace_back(left, right);
    ids.emplace(left + right, static_cast<std::int64_t>(ids.size()));
    for (auto& [word, entry] : words) {
      Texts merged;
      for (std::size_t i = 0; i < entry.first.size(); ++i) {
        const bool hit = i + 1 < entry.first.size() && entry.first[i] == left && entry.first[i + 1] == right;
        merged.push_back(hit ? left + right : entry.first[i]);
        i += hit ? 1 : 0;
      }
      entry.first = merged;
    }
  }
  return merges;
}

TEST(TrainByteBpe, MergesAreThoseOfCountingAnew) {
  EXPECT_EQ(train_byte_bpe(odd_texts(), 400).merges, merges_by_recounting(odd_texts(), 400));
  Random random({7});
  Texts words;  // of few letters: many equal counts, and runs in which a pair overlaps itself
  for (int i = 0; i < 200; ++i) {
    std::string word;
    for (int j = 0; j < 12; ++j) word.push_back(static_cast<char>('a' + random.below(2)));
    words.push_back(word);
  }
  EXPECT_EQ(train_byte_bpe(words, 600).merges, merges_by_recounting(words, 600));
}

TEST(TrainByteBpe, LayoutIsThatOfOpt) {
  const auto vocabulary = train_byte_bpe({"aaa aaa"}, 300);
  EXPECT_EQ(vocabulary.merges, (Merges{{"a", "a"}, {"aa", "a"}}));
  EXPECT_EQ(vocabulary.ids.size(), 262u);
  EXPECT_EQ(vocabulary.ids.at("<s>"), 0);
  EXPECT_EQ(vocabulary.ids.at("<pad>"), 1);
  EXPECT_EQ(vocabulary.ids.at("</s>"), 2);
  EXPECT_EQ(vocabulary.ids.at("<unk>"), 3);
  EXPECT_EQ(vocabulary.ids.at("!"), 4);
  EXPECT_EQ(vocabulary.ids.at("aaa"), 261);
}

TEST(TrainByteBpe, OrderOfTheTextsDoesNotMatter) {
  Texts texts = odd_texts();
  const auto vocabulary = train_byte_bpe(texts, 500);
  std::reverse(texts.begin(), texts.end());
  EXPECT_EQ(train_byte_bpe(texts, 500).merges, vocabulary.merges);
}

TEST(TrainByteBpe, WrittenFilesLoadAndEveryTextComesBack) {
  TemporaryFolder folder;
  const auto vocabulary = train_byte_bpe(odd_texts(), 700);
  write_byte_bpe(vocabulary, folder.path());
  const auto tokenizer = load_tokenizer(folder.path());
  const auto made = make_byte_bpe(vocabulary);
  EXPECT_EQ(tokenizer->vocabulary_size(), 700);
  EXPECT_EQ(tokenizer->padding_id(), 1);
  for (const auto& text : odd_texts()) {
    EXPECT_EQ(tokenizer->encode(text), made->encode(text)) << text;
    EXPECT_EQ(tokenizer->encode(text).front(), 2);
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text), false), "</s>" + text);
  }
}

TEST(WriteByteBpe, FilesAreInThePublishedForm) {
  TemporaryFolder folder;
  write_byte_bpe(train_byte_bpe({"aaa aaa"}, 300), folder.path());
  EXPECT_EQ(read_text(folder.path() / "merges.txt"), "#version: 0.2\na a\naa a\n");
  EXPECT_THAT(read_text(folder.path() / "vocab.json"), testing::StartsWith(R"({"<s>": 0, "<pad>": 1, "</s>": 2)"));
  const auto config = nlohmann::json::parse(read_text(folder.path() / "tokenizer_config.json"));
  EXPECT_EQ(config["add_bos_token"], true);
  EXPECT_EQ(config["bos_token"], "</s>");
  EXPECT_EQ(config["eos_token"], "</s>");
  EXPECT_EQ(config["pad_token"], "<pad>");
}

TEST(TrainByteBpe, SizesThatMakeNoSenseAreRefused) {
  EXPECT_USER_ERROR(train_byte_bpe({"a"}, 259),
                    "a byte-level vocabulary must have 260 to 16777216 tokens, got the size 259");
  EXPECT_USER_ERROR(train_byte_bpe({"a"}, 1 << 30), "got the size 1073741824");
  EXPECT_EQ(train_byte_bpe({"aa aa"}, 260).merges.size(), 0u);
}

}  // namespace
}  // namespace blip2
