// Batches, with a tokenizer of words whose ids are their lengths, between 101 and 102 103.
#include "blip2/text/tokenizer.h"

#include <sstream>

#include "support/expect_error.h"

namespace blip2 {
namespace {

using Ids = std::vector<std::int64_t>;

class LengthTokenizer final : public Tokenizer {
 public:
  Ids encode(const std::string& text, bool add_special_tokens) const override {
    Ids ids;
    if (add_special_tokens) ids.push_back(101);
    std::istringstream stream(text);
    for (std::string word; stream >> word;) ids.push_back(static_cast<std::int64_t>(word.size()));
    if (add_special_tokens) ids.insert(ids.end(), {102, 103});
    return ids;
  }
  std::string decode(const Ids&, bool) const override { return ""; }
  std::int64_t vocabulary_size() const override { return 104; }
  std::string token(std::int64_t) const override { return ""; }
  std::optional<std::int64_t> find(const std::string&) const override { return std::nullopt; }
  std::int64_t padding_id() const override { return 99; }
  std::int64_t prefix_length() const override { return 1; }
  std::int64_t suffix_length() const override { return 2; }
  void save(const std::filesystem::path&) const override {}
};

const std::vector<std::string> kTexts = {"a bb ccc", "a"};

TEST(EncodeBatch, PadsToTheLongestRow) {
  const TokenBatch batch = encode_batch(LengthTokenizer(), kTexts, {});
  EXPECT_EQ(batch.rows, 2);
  EXPECT_EQ(batch.columns, 6);
  EXPECT_EQ(batch.ids, (Ids{101, 1, 2, 3, 102, 103, 101, 1, 102, 103, 99, 99}));
  EXPECT_EQ(batch.attention_mask, (Ids{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0}));
}

TEST(EncodeBatch, PadsOnTheLeft) {
  BatchOptions options;
  options.side = PaddingSide::kLeft;
  const TokenBatch batch = encode_batch(LengthTokenizer(), kTexts, options);
  EXPECT_EQ(batch.ids, (Ids{101, 1, 2, 3, 102, 103, 99, 99, 101, 1, 102, 103}));
  EXPECT_EQ(batch.attention_mask, (Ids{1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1}));
}

TEST(EncodeBatch, TruncationCutsTheTextAndKeepsTheSuffix) {
  BatchOptions options;
  options.max_length = 5;
  const TokenBatch batch = encode_batch(LengthTokenizer(), kTexts, options);
  EXPECT_EQ(batch.columns, 5);
  EXPECT_EQ(batch.ids, (Ids{101, 1, 2, 102, 103, 101, 1, 102, 103, 99}));
}

TEST(EncodeBatch, TruncationWithoutSpecialTokensKeepsTheFirstTokens) {
  BatchOptions options;
  options.max_length = 2;
  options.add_special_tokens = false;
  EXPECT_EQ(encode_batch(LengthTokenizer(), kTexts, options).ids, (Ids{1, 2, 1, 99}));
}

TEST(EncodeBatch, PadsToTheMaximumIfAsked) {
  BatchOptions options;
  options.max_length = 5;
  options.pad_to_max_length = true;
  const TokenBatch batch = encode_batch(LengthTokenizer(), {"a"}, options);
  EXPECT_EQ(batch.ids, (Ids{101, 1, 102, 103, 99}));
  EXPECT_EQ(batch.attention_mask, (Ids{1, 1, 1, 1, 0}));
}

TEST(EncodeBatch, NoTextsMakeNoRows) {
  const TokenBatch batch = encode_batch(LengthTokenizer(), {}, {});
  EXPECT_EQ(batch.rows, 0);
  EXPECT_EQ(batch.columns, 0);
  EXPECT_TRUE(batch.ids.empty());
}

TEST(EncodeBatch, AMaximumWithoutRoomIsRefused) {
  BatchOptions options;
  options.max_length = 2;
  EXPECT_USER_ERROR(encode_batch(LengthTokenizer(), kTexts, options),
                    "max_length 2 leaves no room for the 3 special tokens of a text");
  options.max_length = -1;
  EXPECT_USER_ERROR(encode_batch(LengthTokenizer(), kTexts, options), "max_length -1 leaves no room");
}

TEST(EncodeBatch, PaddingToNoMaximumIsRefused) {
  BatchOptions options;
  options.pad_to_max_length = true;
  EXPECT_USER_ERROR(encode_batch(LengthTokenizer(), kTexts, options), "pad_to_max_length needs a max_length above 0");
}

TEST(CleanUpSpaces, JoinsPunctuationAndContractions) {
  EXPECT_EQ(clean_up_spaces("isn ' t it ? yes , we 're here ."), "isn't it? yes, we're here.");
  EXPECT_EQ(clean_up_spaces("do n't ! i 'm , she 's , they 've"), "don't! i'm, she's, they've");
  EXPECT_EQ(clean_up_spaces("a : b"), "a : b");
}

}  // namespace
}  // namespace blip2
