// WordPiece against the ids of LAVIS (its vocabulary of 172 lines is in tests/data) and, where the big reference set
// lies beside the checkout, against Hugging Face's fast tokenizer with BERT's vocabulary.
#include "blip2/text/wordpiece.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<std::int64_t>;

const fs::path kLavisVocabulary = fs::path(BLIP2_TEST_DATA) / "text" / "lavis_vocab.txt";
const std::string kSpecials = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n";

class TemporaryVocabulary {
 public:
  explicit TemporaryVocabulary(const std::string& text) { std::ofstream(path(), std::ios::binary) << text; }
  fs::path path() const { return folder_.path() / "vocab.txt"; }

 private:
  TemporaryFolder folder_;
};

std::vector<std::string> tokens_of(const Tokenizer& tokenizer, const Ids& ids) {
  std::vector<std::string> tokens;
  for (const auto id : ids) tokens.push_back(tokenizer.token(id));
  return tokens;
}

TEST(WordPiece, CaptionsBecomeTheTokensOfLavis) {
  std::ifstream stream(fs::path(BLIP2_TEST_DATA) / "text" / "lavis_captions.json");
  const auto expected = nlohmann::json::parse(stream);
  const WordPieceTokenizer tokenizer(kLavisVocabulary);
  const auto captions = expected["captions"].get<std::vector<std::string>>();
  BatchOptions options;
  options.max_length = 16;
  options.pad_to_max_length = true;
  const TokenBatch batch = encode_batch(tokenizer, captions, options);
  ASSERT_EQ(batch.rows, 4);
  for (std::size_t i = 0; i < 4; ++i) {
    const Ids row(batch.ids.begin() + static_cast<std::ptrdiff_t>(16 * i),
                  batch.ids.begin() + static_cast<std::ptrdiff_t>(16 * (i + 1)));
    EXPECT_EQ(tokens_of(tokenizer, row), expected["tokens"][i].get<std::vector<std::string>>());
    EXPECT_EQ(clean_up_spaces(tokenizer.decode(row)), expected["decoded"][i]);
    for (std::size_t j = 0; j < 16; ++j) EXPECT_EQ(batch.attention_mask[16 * i + j], row[j] != tokenizer.padding_id());
  }
  EXPECT_EQ(Ids(batch.ids.begin() + 32, batch.ids.begin() + 37), (Ids{3, 22, 110, 4, 0}));  // a cat
}

TEST(WordPiece, DecoderTokenFollowsTheLastLine) {
  const WordPieceTokenizer tokenizer(kLavisVocabulary);
  EXPECT_EQ(tokenizer.decoder_id(), 172);
  EXPECT_EQ(tokenizer.vocabulary_size(), 173);
  EXPECT_EQ(tokenizer.token(172), "[DEC]");
  EXPECT_EQ(tokenizer.padding_id(), 0);
  EXPECT_EQ(tokenizer.cls_id(), 3);
  EXPECT_EQ(tokenizer.sep_id(), 4);
}

TEST(WordPiece, DecoderTokenOfTheFileKeepsItsLine) {
  const TemporaryVocabulary file(kSpecials + "[DEC]\na\n");
  const WordPieceTokenizer tokenizer(file.path());
  EXPECT_EQ(tokenizer.decoder_id(), 4);
  EXPECT_EQ(tokenizer.vocabulary_size(), 6);
}

TEST(WordPiece, ReferenceLinesHaveTheIdsOfTheFastTokenizer) {
  const fs::path shared = BLIP2_SHARED_DATA;
  const fs::path vocabulary = shared / "tokenizers" / "bert-base-uncased-vocab.txt";
  const fs::path lines = shared / "fixtures" / "huggingface" / "tokenizers" / "bert.jsonl";
  if (!fs::exists(vocabulary) || !fs::exists(lines)) GTEST_SKIP() << "the big reference set is not here";
  WordPieceOptions options;
  options.added_tokens = {};
  const WordPieceTokenizer tokenizer(vocabulary, options);
  std::ifstream stream(lines);
  int count = 0;
  for (std::string line; std::getline(stream, line); ++count) {
    const auto expected = nlohmann::json::parse(line);
    const std::string text = expected["text"];
    const Ids ids = tokenizer.encode(text);
    EXPECT_EQ(ids, expected["ids"].get<Ids>()) << text;
    EXPECT_EQ(tokens_of(tokenizer, ids), expected["tokens"].get<std::vector<std::string>>()) << text;
    EXPECT_EQ(tokenizer.decode(ids), expected["decoded"]) << text;
    EXPECT_EQ(tokenizer.decode(ids, false), expected["decoded_raw"]) << text;
    EXPECT_EQ(clean_up_spaces(tokenizer.decode(ids)), expected["decoded_clean"]) << text;
  }
  EXPECT_EQ(count, 391);
  EXPECT_EQ(WordPieceTokenizer(vocabulary).decoder_id(), 30522);
}

TEST(WordPiece, TakesTheLongestPieces) {
  const TemporaryVocabulary file(kSpecials + "a\nab\nabc\n##c\n##cd\n##d\n");
  const WordPieceTokenizer tokenizer(file.path());
  EXPECT_EQ(tokens_of(tokenizer, tokenizer.encode("abcd abd", false)),
            (std::vector<std::string>{"abc", "##d", "ab", "##d"}));
}

TEST(WordPiece, AWordWithOneUnknownPieceIsUnknownAsAWhole) {
  const TemporaryVocabulary file(kSpecials + "ab\n##c\n");
  const WordPieceTokenizer tokenizer(file.path());
  EXPECT_EQ(tokens_of(tokenizer, tokenizer.encode("abcx abc", false)),
            (std::vector<std::string>{"[UNK]", "ab", "##c"}));
}

TEST(WordPiece, AWordOverTheLimitOfCharactersIsUnknown) {
  const TemporaryVocabulary file(kSpecials + "ä\n##ä\n");
  WordPieceOptions options;
  options.lowercase = false;
  options.max_input_chars_per_word = 3;
  const WordPieceTokenizer tokenizer(file.path(), options);
  EXPECT_EQ(tokenizer.encode("äää", false), (Ids{4, 5, 5}));
  EXPECT_EQ(tokenizer.encode("ääää", false), (Ids{1}));
}

TEST(WordPiece, SpecialTokensInATextAreTakenAsTheyAre) {
  const WordPieceTokenizer tokenizer(kLavisVocabulary);
  EXPECT_EQ(tokenizer.encode("a[SEP][DEC]cat", false), (Ids{22, 4, 172, 110}));
  EXPECT_EQ(tokenizer.encode("[dec]", false).front(), 2) << "a bracket is no special token: unknown";
  EXPECT_EQ(tokenizer.decode({3, 22, 4, 172, 110, 4, 0}), "a cat");
  EXPECT_EQ(tokenizer.decode({3, 22, 172}, false), "[CLS] a [DEC]");
}

TEST(WordPiece, OfSpecialTokensThatOverlapTheLongestIsTaken) {
  WordPieceOptions options;
  options.added_tokens = {"<a>", "<a><b>"};
  const WordPieceTokenizer tokenizer(kLavisVocabulary, options);
  EXPECT_EQ(tokenizer.encode("<a><b><a>", false), (Ids{173, 172}));
}

TEST(WordPiece, CaseIsKeptIfAsked) {
  const TemporaryVocabulary file(kSpecials + "Café\ncafe\n");
  WordPieceOptions options;
  options.lowercase = false;
  EXPECT_EQ(WordPieceTokenizer(file.path(), options).encode("Café", false), (Ids{4}));
  EXPECT_EQ(WordPieceTokenizer(file.path()).encode("Café", false), (Ids{5}));
}

TEST(WordPiece, AnyBytesAreATextWithoutHarm) {
  const WordPieceTokenizer tokenizer(kLavisVocabulary);
  EXPECT_EQ(tokenizer.encode("a\xFF cat\xF0\x9F", false), (Ids{22, 110}));
  EXPECT_EQ(tokenizer.encode(std::string("a\0cat", 5), false), tokenizer.encode("acat", false));
  EXPECT_EQ(tokenizer.encode("", true), (Ids{3, 4}));
  std::string all;
  for (int i = 0; i < 1 << 16; ++i) all += {static_cast<char>(i >> 8), static_cast<char>(i & 0xFF)};
  for (const auto id : tokenizer.encode(all)) EXPECT_LT(id, tokenizer.vocabulary_size());
}

TEST(WordPiece, SavedVocabularyReadsBackTheSame) {
  const TemporaryFolder folder;
  const WordPieceTokenizer tokenizer(kLavisVocabulary);
  tokenizer.save(folder.path());
  const WordPieceTokenizer again(folder.path() / "vocab.txt");
  ASSERT_EQ(again.vocabulary_size(), tokenizer.vocabulary_size());
  for (std::int64_t id = 0; id < again.vocabulary_size(); ++id) EXPECT_EQ(again.token(id), tokenizer.token(id));
  EXPECT_WORLD_ERROR(tokenizer.save(folder.path() / "missing"), "vocab.txt");
}

TEST(WordPiece, LinesMayEndAsOnWindows) {
  const TemporaryVocabulary file("[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]\r\ncat");
  EXPECT_EQ(WordPieceTokenizer(file.path()).find("cat"), 4);
}

TEST(WordPiece, IdsOutsideTheVocabularyAreRefused) {
  const WordPieceTokenizer tokenizer(kLavisVocabulary);
  EXPECT_USER_ERROR(tokenizer.token(173), "token id 173 lies outside the vocabulary of 173");
  EXPECT_EQ(tokenizer.decode({22, -1, 173}), tokenizer.decode({22}));
  EXPECT_FALSE(tokenizer.find("zebra"));
}

TEST(WordPiece, AMissingDecoderTokenIsRefused) {
  WordPieceOptions options;
  options.added_tokens = {};
  EXPECT_USER_ERROR(WordPieceTokenizer(kLavisVocabulary, options).decoder_id(), "the vocabulary has no token [DEC]");
}

TEST(WordPiece, AnEmptyAddedTokenIsRefused) {
  WordPieceOptions options;
  options.added_tokens = {""};
  EXPECT_USER_ERROR(WordPieceTokenizer(kLavisVocabulary, options), "an added token of a WordPiece vocabulary must not");
}

TEST(WordPiece, DamagedVocabulariesAreRefused) {
  auto read = [](const std::string& text) { WordPieceTokenizer(TemporaryVocabulary(text).path()); };
  EXPECT_USER_ERROR((read(""), 0), "vocab.txt' is empty: a WordPiece vocabulary has a token per line");
  EXPECT_USER_ERROR((read(kSpecials + "a\nb\na\n"), 0), "line 7 repeats the token of line 5");
  EXPECT_USER_ERROR((read(kSpecials + "a\n\xC3(\n"), 0), "line 6 is not UTF-8");
  EXPECT_USER_ERROR((read("[UNK]\n[CLS]\n[SEP]\n"), 0), "needs the token [PAD], which no line holds");
  EXPECT_USER_ERROR((read("[PAD]\n[CLS]\n[SEP]\n"), 0), "needs the token [UNK], which no line holds");
  EXPECT_USER_ERROR((read("[PAD]\n[UNK]\n[SEP]\n"), 0), "needs the token [CLS], which no line holds");
  EXPECT_USER_ERROR((read("[PAD]\n[UNK]\n[CLS]\n"), 0), "needs the token [SEP], which no line holds");
}

TEST(WordPiece, MissingAndHugeFilesAreRefused) {
  const TemporaryVocabulary file("");
  fs::resize_file(file.path(), 100'000'001);
  EXPECT_USER_ERROR(WordPieceTokenizer(file.path()), "more than the 100000000 that are read");
  EXPECT_USER_ERROR(WordPieceTokenizer(file.path().parent_path() / "none.txt"), "no such file");
  EXPECT_USER_ERROR(WordPieceTokenizer(file.path().parent_path()), "it is a folder, not a file");
}

}  // namespace
}  // namespace blip2
