// Byte-level BPE against Hugging Face's tokenizer.json of an OPT folder, and against GPT-2's vocabulary where it is.
#include "blip2/text/byte_bpe.h"

#include <chrono>

#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "text/reference_lines.h"

namespace blip2 {
namespace {

using Ids = std::vector<std::int64_t>;
using Words = std::vector<std::string>;

ByteBpeTokenizer opt_tokenizer(ByteBpeOptions options = {}) {
  options.added_tokens.push_back({"<image>", 565});
  return ByteBpeTokenizer(read_byte_bpe(text_data("opt")), options, "opt");
}

TEST(ByteBpe, IdsAndTextAreTheReferences) {
  const ByteBpeTokenizer tokenizer = opt_tokenizer();
  const auto lines = reference_lines(text_data("opt.jsonl"));
  ASSERT_EQ(lines.size(), 481u);
  for (const auto& line : lines) {
    const Ids ids = line["ids"];
    EXPECT_EQ(tokenizer.encode(line["text"]), ids) << line["text"];
    EXPECT_EQ(tokenizer.decode(ids), line["decoded"].get<std::string>()) << line["text"];
    EXPECT_EQ(tokenizer.decode(ids, false), line["decoded_raw"].get<std::string>()) << line["text"];
    EXPECT_EQ(clean_up_spaces(tokenizer.decode(ids)), line["decoded_clean"].get<std::string>()) << line["text"];
  }
}

TEST(ByteBpe, IdsOfGpt2AreTheReferences) {
  const std::filesystem::path shared = BLIP2_SHARED_DATA;
  if (!std::filesystem::exists(shared / "tokenizers/gpt2-vocab.json")) {
    GTEST_SKIP() << "IdsAndTextAreTheReferences tests the same texts with a smaller vocabulary";
  }
  TemporaryFolder folder;
  std::filesystem::copy(shared / "tokenizers/gpt2-vocab.json", folder.path() / "vocab.json");
  std::filesystem::copy(shared / "tokenizers/gpt2-merges.txt", folder.path() / "merges.txt");
  ByteBpeOptions options;
  options.beginning = options.padding = "";
  options.added_tokens = {{"<|endoftext|>", 50256}};
  const ByteBpeTokenizer tokenizer(read_byte_bpe(folder.path()), options, "gpt2");
  const auto lines = reference_lines(shared / "fixtures/huggingface/tokenizers/gpt2.jsonl");
  ASSERT_EQ(lines.size(), 391u);
  for (const auto& line : lines) {
    EXPECT_EQ(tokenizer.encode(line["text"]), line["ids"].get<Ids>()) << line["text"];
    EXPECT_EQ(tokenizer.decode(line["ids"], false), line["decoded_raw"].get<std::string>()) << line["text"];
  }
}

TEST(ByteBpe, EveryTextComesBack) {
  const ByteBpeTokenizer tokenizer = opt_tokenizer();
  for (const auto& line : reference_lines(text_data("opt.jsonl"))) {
    const std::string text = line["text"];
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text), false), "</s>" + text);
  }
}

TEST(ByteBpeWords, ContractionsAreCaseSensitive) {
  EXPECT_EQ(byte_bpe_words("it's we'll I'D"), (Words{"it", "'s", " we", "'ll", " I", "'", "D"}));
  EXPECT_EQ(byte_bpe_words("'re've'm't'd'x'l'"), (Words{"'re", "'ve", "'m", "'t", "'d", "'", "x", "'", "l", "'"}));
  EXPECT_EQ(byte_bpe_words(" 's"), (Words{" '", "s"}));
}

TEST(ByteBpeWords, LastSpaceJoinsTheWord) {
  EXPECT_EQ(byte_bpe_words("a   b"), (Words{"a", "  ", " b"}));
  EXPECT_EQ(byte_bpe_words("a \n\tb"), (Words{"a", " \n", "\t", "b"}));
  EXPECT_EQ(byte_bpe_words("a  "), (Words{"a", "  "}));
  EXPECT_EQ(byte_bpe_words("  "), (Words{"  "}));
  EXPECT_EQ(byte_bpe_words("a\u00a0b"), (Words{"a", "\u00a0", "b"}));
}

TEST(ByteBpeWords, LettersNumbersAndMarksPart) {
  EXPECT_EQ(byte_bpe_words("ab12,.cd ½é"), (Words{"ab", "12", ",.", "cd", " ½", "é"}));
  EXPECT_EQ(byte_bpe_words("e\u0301x"), (Words{"e", "\u0301", "x"}));  // a combining mark is no letter
}

TEST(ByteBpe, AddedTokensAreCutOutOfTheText) {
  ByteBpeOptions options;
  options.added_tokens = {{"<image>", 565}, {"<image><image>", 566}, {"</s", 567}, {"<b>", 568, false}};
  const ByteBpeTokenizer tokenizer(read_byte_bpe(text_data("opt")), options, "opt");
  EXPECT_EQ(tokenizer.encode("<image><image><image>", false), (Ids{566, 565})) << "leftmost, then longest";
  EXPECT_EQ(tokenizer.encode("</s></s<pad>", false), (Ids{2, 567, 1}));
  EXPECT_EQ(tokenizer.encode("<imag<image>e>", false).size(), tokenizer.encode("<imag", false).size() + 1 + 2);
  EXPECT_EQ(tokenizer.decode({2, 565, 568, 1}), "<b>") << "only special tokens are skipped";
  EXPECT_EQ(tokenizer.vocabulary_size(), 569);
  EXPECT_EQ(tokenizer.token(566), "<image><image>");
  EXPECT_EQ(tokenizer.find("<image>"), 565);
  EXPECT_EQ(tokenizer.find("<none>"), std::nullopt);
}

TEST(ByteBpe, AnAddedTokenOfTheVocabularyKeepsItsId) {
  ByteBpeOptions options;
  options.added_tokens = {{"<unk>", 565}};
  const ByteBpeTokenizer tokenizer(read_byte_bpe(text_data("opt")), options, "opt");
  EXPECT_EQ(tokenizer.encode("<unk>"), (Ids{2, 3}));
}

TEST(ByteBpe, BeginsAsItsOptionsSay) {
  EXPECT_EQ(opt_tokenizer().encode(""), Ids{2});
  EXPECT_EQ(opt_tokenizer().encode("", false), Ids{});
  EXPECT_EQ(opt_tokenizer().prefix_length(), 1);
  EXPECT_EQ(opt_tokenizer().suffix_length(), 0);
  ByteBpeOptions options;
  options.beginning = options.padding = "";
  const ByteBpeTokenizer bare = opt_tokenizer(options);
  EXPECT_EQ(bare.encode(""), Ids{});
  EXPECT_EQ(bare.prefix_length(), 0);
  EXPECT_USER_ERROR(bare.padding_id(), "the tokenizer has no padding token");
  options.add_prefix_space = true;
  EXPECT_EQ(opt_tokenizer(options).encode("the dog<image> x"), bare.encode(" the dog<image> x"));
  EXPECT_EQ(opt_tokenizer(options).encode("<image>x"), bare.encode("<image> x"));
}

TEST(ByteBpe, CutCharactersDecodeAsReplacements) {
  const ByteBpeTokenizer tokenizer = opt_tokenizer();
  Ids ids = tokenizer.encode("a中", false);
  ASSERT_EQ(ids.size(), 4u);
  ids.pop_back();
  EXPECT_EQ(tokenizer.decode(ids), "a\ufffd");
}

TEST(ByteBpe, IllFormedTextReadsAsReplacements) {
  const ByteBpeTokenizer tokenizer = opt_tokenizer();
  const std::string ill = std::string("a\xff\xfe") + "b\xe4\xb8" + "c\xed\xa0\x80" + "d\xc3";
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(ill, false)), "a\ufffd\ufffdb\ufffdc\ufffd\ufffd\ufffdd\ufffd");
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(std::string("a\0b", 3), false)), std::string("a\0b", 3));
}

TEST(ByteBpe, IdsOutsideTheVocabularyAreRefused) {
  const ByteBpeTokenizer tokenizer = opt_tokenizer();
  EXPECT_EQ(tokenizer.decode({566, -1}), "");
  EXPECT_USER_ERROR(tokenizer.token(566), "token id 566 lies outside the vocabulary of 566");
  EXPECT_USER_ERROR(tokenizer.token(-1), "token id -1 lies outside the vocabulary of 566");
}

TEST(ByteBpe, LongTextWithoutSpacesTakesNoQuadraticTime) {
  const ByteBpeTokenizer tokenizer = opt_tokenizer();
  const auto start = std::chrono::steady_clock::now();
  std::string text;
  while (text.size() < 500'000) text += "theinonat";
  const Ids ids = tokenizer.encode(text, false);
  EXPECT_EQ(tokenizer.decode(ids), text);
  EXPECT_LT(ids.size(), text.size());
  EXPECT_EQ(tokenizer.encode(std::string(100'000, '<'), false).size(), 100'000u);
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(std::string(100'000, ' '), false)), std::string(100'000, ' '));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60));  // quadratic would be an hour
}

class DamagedByteBpe : public testing::Test {
 protected:
  ByteBpeVocabulary read(const std::string& vocabulary, const std::string& merges = "") {
    write_text(folder_.path() / "vocab.json", vocabulary);
    write_text(folder_.path() / "merges.txt", merges);
    return read_byte_bpe(folder_.path());
  }
  const std::string good_ = R"({"a":0,"b":1,"ab":2})";
  TemporaryFolder folder_;
};

TEST_F(DamagedByteBpe, VocabularyIsRefusedInOneSentence) {
  EXPECT_USER_ERROR(read("[1]"), "vocab.json' must hold a JSON object from tokens to ids, found array");
  EXPECT_USER_ERROR(read("{"), "vocab.json' is not JSON");
  EXPECT_USER_ERROR(read("\"\xff\""), "vocab.json' is not JSON");
  EXPECT_USER_ERROR(read("{}"), "vocab.json' holds no tokens");
  EXPECT_USER_ERROR(read(R"({"a\nb":"x"})"), R"(the id of token 'a\nb' must be an integer from 0 to 16777215, found)");
  EXPECT_USER_ERROR(read(R"({"a":-1})"), "the id of token 'a' must be an integer from 0 to 16777215, found '-1'");
  EXPECT_USER_ERROR(read(R"({"a":18446744073709551615})"), "found '18446744073709551615'");
  EXPECT_USER_ERROR(read(R"({"a":1.5})"), "found '1.5'");
}

TEST_F(DamagedByteBpe, MergesAreRefusedInOneSentence) {
  EXPECT_EQ(read(good_, "#version: 0.2\r\na b\r\n\n").merges.size(), 1u);
  EXPECT_USER_ERROR(read(good_, "a b\nab\n"),
                    "merges.txt': line 2 must hold two tokens with a space between, found 'ab'");
  EXPECT_USER_ERROR(read(good_, "a b a\n"), "line 1 must hold two tokens with a space between, found 'a b a'");
  EXPECT_USER_ERROR(read(good_, " b\n"), "line 1 must hold two tokens");
  EXPECT_USER_ERROR(read(good_, "a c\n"), "merges.txt': line 1 needs the token 'c', which vocab.json lacks");
  EXPECT_USER_ERROR(read(good_, "b a\n"), "line 1 needs the token 'ba', which vocab.json lacks");
  EXPECT_USER_ERROR(read(good_, "\xff \xff\n"), "needs the token '\ufffd', which vocab.json lacks");
}

TEST_F(DamagedByteBpe, MissingFilesAreNamed) {
  EXPECT_USER_ERROR(read_byte_bpe(folder_.path()), "vocab.json': no such file");
  write_text(folder_.path() / "vocab.json", good_);
  EXPECT_USER_ERROR(read_byte_bpe(folder_.path()), "merges.txt': no such file");
}

TEST_F(DamagedByteBpe, VocabularyWithoutItsPartsIsRefused) {
  const ByteBpeVocabulary good = read_byte_bpe(text_data("opt"));
  auto load = [](const ByteBpeVocabulary& vocabulary, const ByteBpeOptions& options = {}) {
    ByteBpeTokenizer(vocabulary, options, "opt");
  };
  auto vocabulary = good;
  vocabulary.ids["x y"] = 600;
  EXPECT_USER_ERROR(load(vocabulary), "'opt': token 'x y' has the id 600, expected the ids 0 to 565 without gaps");
  vocabulary.ids["x y"] = 4;
  EXPECT_USER_ERROR(load(vocabulary), "'opt': the tokens '!' and 'x y' have the same id 4");
  vocabulary.ids["x y"] = -1;
  EXPECT_USER_ERROR(load(vocabulary), "'opt': token 'x y' has the id -1");
  vocabulary = good;
  vocabulary.ids["new"] = vocabulary.ids["!"];
  vocabulary.ids.erase("!");
  EXPECT_USER_ERROR(load(vocabulary), "'opt': the vocabulary has no token '!'");
  vocabulary = good;
  vocabulary.merges.emplace_back("!", "?");
  EXPECT_USER_ERROR(load(vocabulary), "needs the token '!?', which the vocabulary lacks");
  ByteBpeOptions options;
  options.beginning = "<begin>";
  EXPECT_USER_ERROR(load(good, options), "'opt': the vocabulary has no token '<begin>'");
  options.beginning = "";
  options.padding = "<padding>";
  EXPECT_USER_ERROR(load(good, options), "'opt': the vocabulary has no token '<padding>'");
  options.padding = "";
  options.added_tokens = {{"", 565}};
  EXPECT_USER_ERROR(load(good, options), "an added token of a tokenizer must not be empty");
}

}  // namespace
}  // namespace blip2
