// Folders: which tokenizer they mean, what their side files say, and that a saved tokenizer is the same one.
#include "blip2/text/load_tokenizer.h"

#include "blip2/text/byte_bpe.h"
#include "blip2/text/sentencepiece.h"
#include "blip2/text/wordpiece.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "text/reference_lines.h"

namespace blip2 {
namespace {

using Ids = std::vector<std::int64_t>;

void expect_saved_is_same(const Tokenizer& tokenizer) {
  TemporaryFolder folder;
  tokenizer.save(folder.path());
  const auto loaded = load_tokenizer(folder.path());
  ASSERT_EQ(tokenizer.vocabulary_size(), loaded->vocabulary_size());
  for (std::int64_t id = 0; id < tokenizer.vocabulary_size(); ++id) ASSERT_EQ(tokenizer.token(id), loaded->token(id));
  for (const auto& line : reference_lines(text_data("opt.jsonl"))) {
    const Ids ids = tokenizer.encode(line["text"]);
    ASSERT_EQ(ids, loaded->encode(line["text"])) << line["text"];
    ASSERT_EQ(tokenizer.decode(ids), loaded->decode(ids)) << line["text"];
  }
}

TEST(LoadTokenizer, FolderOfOptGivesTheReferencesIds) {
  const auto tokenizer = load_tokenizer(text_data("opt"));
  for (const auto& line : reference_lines(text_data("opt.jsonl"))) {
    EXPECT_EQ(tokenizer->encode(line["text"]), line["ids"].get<Ids>()) << line["text"];
  }
  EXPECT_EQ(tokenizer->padding_id(), 1);
  EXPECT_EQ(tokenizer->find("<image>"), 565);
  expect_saved_is_same(*tokenizer);
}

TEST(LoadTokenizer, FolderOfT5WithoutTokenizerJsonIsTheClass) {
  const auto tokenizer = load_tokenizer(text_data("t5"));
  for (const auto& line : reference_lines(text_data("t5.jsonl"))) {
    if (has_composed_marks(line["text"]) || has_next_line(line["text"])) continue;  // see sentencepiece_test.cpp
    EXPECT_EQ(tokenizer->encode(line["text"]), line["class_ids"].get<Ids>()) << line["text"];
  }
  EXPECT_EQ(tokenizer->find("<image>"), 500);
  expect_saved_is_same(*tokenizer);
}

TEST(LoadTokenizer, TokenizerJsonDecidesWhetherSpaceAtTheEndIsAToken) {
  TemporaryFolder folder;
  std::filesystem::copy(text_data("t5/spiece.model"), folder.path() / "spiece.model");
  auto load = [&](const std::string& json) {
    write_text(folder.path() / "tokenizer.json", json);
    return load_tokenizer(folder.path());
  };
  const auto length = load("{}")->encode("a dog").size();
  EXPECT_EQ(load("{}")->encode("a dog ").size(), length);
  const auto metaspace = load(R"({"pre_tokenizer":{"type":"Metaspace"},"normalizer":null})");
  EXPECT_EQ(metaspace->encode("a dog ").size(), length + 1);
  expect_saved_is_same(*metaspace);
  EXPECT_EQ(load(R"({"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"WhitespaceSplit"},
                     {"type":"Metaspace"}]}})")
                ->encode("a dog ")
                .size(),
            length);
  EXPECT_EQ(load(R"({"pre_tokenizer":{"type":"Metaspace"},"normalizer":{"type":"Strip"}})")->encode("a dog ").size(),
            length);
}

TEST(LoadTokenizer, TokenizerJsonWithAModelIsTheTokenizer) {
  TemporaryFolder folder;
  std::filesystem::copy(text_data("t5/spiece.model"), folder.path() / "spiece.model");
  std::filesystem::copy(text_data("tokenizer_json/t5.json"), folder.path() / "tokenizer.json");
  write_text(folder.path() / "tokenizer_config.json", R"({"pad_token": "<extra_id_0>", "eos_token": "</s>"})");
  const auto tokenizer = load_tokenizer(folder.path());
  for (const auto& line : reference_lines(text_data("t5.jsonl"))) {
    EXPECT_EQ(tokenizer->encode(line["text"]), line["ids"].get<Ids>()) << line["text"];
  }
  EXPECT_EQ(tokenizer->padding_id(), 499);
  expect_saved_is_same(*tokenizer);
  write_text(folder.path() / "tokenizer.json", R"({"model": {"type": "Neural"}})");
  EXPECT_USER_ERROR(load_tokenizer(folder.path()), "tokenizer.json': 'model.type' must be BPE");
}

TEST(LoadTokenizer, FolderOfGpt2BeginsATextWithNothing) {
  TemporaryFolder folder;
  std::filesystem::copy(text_data("opt/vocab.json"), folder.path() / "vocab.json");
  std::filesystem::copy(text_data("opt/merges.txt"), folder.path() / "merges.txt");
  auto load = [&](const std::string& config) {
    write_text(folder.path() / "tokenizer_config.json", config);
    return load_tokenizer(folder.path());
  };
  EXPECT_EQ(load("{}")->encode(""), Ids{2}) << "a vocabulary with </s> is OPT's";
  EXPECT_EQ(load(R"({"add_bos_token": false})")->encode(""), Ids{});
  EXPECT_EQ(load(R"({"bos_token": "<|end|>", "added_tokens_decoder": {"565": {"content": "<|end|>"}}})")->encode(""),
            Ids{});
  EXPECT_EQ(load(R"({"bos_token": {"content": "<s>"}, "add_bos_token": true})")->encode(""), Ids{0});
  EXPECT_EQ(load(R"({"eos_token": "<unk>"})")->decode({2, 3, 4}), "!") << "named tokens are special";
  EXPECT_EQ(load(R"({"added_tokens_decoder": {"565": {"content": "<b>", "special": false}}})")->decode({565}), "<b>");
  EXPECT_USER_ERROR(load(R"({"pad_token": "<none>"})"), "has no token '<none>'");
  std::filesystem::remove(folder.path() / "tokenizer_config.json");
  EXPECT_EQ(load_tokenizer(folder.path())->encode(""), Ids{2});
}

TEST(LoadTokenizer, SavedTokenizersKeepTheirOptions) {
  ByteBpeOptions bpe;
  bpe.beginning = "";
  bpe.padding = "";
  bpe.add_prefix_space = true;
  bpe.added_tokens = {{"<image>", 565, false}};
  expect_saved_is_same(ByteBpeTokenizer(read_byte_bpe(text_data("opt")), bpe, "opt"));
  T5TokenizerOptions t5;
  t5.extra_ids = 3;
  t5.added_tokens = {{"<image>", 403}};
  expect_saved_is_same(T5Tokenizer(text_data("t5/spiece.model"), t5));
}

TEST(LoadTokenizer, FoldersOfTheReferenceLoadAsTheyLie) {
  const auto models = std::filesystem::path(BLIP2_SHARED_DATA) / "fixtures/huggingface";
  if (!std::filesystem::exists(models)) GTEST_SKIP() << "the other tests load copies of these folders";
  EXPECT_EQ(load_tokenizer(models / "opt_legacy/model")->encode("a", false).size(), 1u);
  EXPECT_EQ(load_tokenizer(models / "itm_tiny/model")->find("[DEC]"), 352);
  EXPECT_EQ(load_tokenizer(models / "itm_image_token/model")->find("<image>"), 353);
  const auto t5 = load_tokenizer(models / "t5_tiny/model");
  for (const auto& line : reference_lines(text_data("t5.jsonl"))) {
    EXPECT_EQ(t5->encode(line["text"]), line["ids"].get<Ids>()) << line["text"];
  }
  expect_saved_is_same(*t5);
  const auto opt = load_tokenizer(models / "opt_tiny/model");
  for (const auto& line : reference_lines(text_data("opt.jsonl"))) {
    EXPECT_EQ(opt->encode(line["text"]), line["ids"].get<Ids>()) << line["text"];
  }
}

TEST(LoadTokenizer, FolderWithoutTokenizerNamesWhatWasLookedFor) {
  TemporaryFolder folder;
  EXPECT_USER_ERROR(load_tokenizer(folder.path() / "none"), "none': there is no such folder");
  EXPECT_USER_ERROR(load_tokenizer(folder.path()), "no tokenizer in '" + folder.path().string() +
                                                       "': looked for tokenizer.json with a model, vocab.txt "
                                                       "(WordPiece), vocab.json with merges.txt (OPT) and "
                                                       "spiece.model (T5)");
  write_text(folder.path() / "vocab.json", "{}");
  EXPECT_USER_ERROR(load_tokenizer(folder.path()), "looked for tokenizer.json");
}

class WordPieceFolder : public testing::Test {
 protected:
  WordPieceFolder() { vocabulary("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n"); }
  void vocabulary(const std::string& lines) { write_text(folder_.path() / "vocab.txt", lines); }
  std::unique_ptr<Tokenizer> load(const std::string& name, const std::string& json) {
    for (const char* old :
         {"tokenizer.json", "tokenizer_config.json", "added_tokens.json", "special_tokens_map.json"}) {
      std::filesystem::remove(folder_.path() / old);
    }
    write_text(folder_.path() / name, json);
    return load_tokenizer(folder_.path());
  }
  TemporaryFolder folder_;
};

TEST_F(WordPieceFolder, HasItsDecoderTokenBehindTheVocabulary) {
  EXPECT_EQ(load_tokenizer(folder_.path())->find("[DEC]"), 6);
  const auto tokenizer = load("added_tokens.json", R"({"<image>": 7})");
  EXPECT_EQ(tokenizer->find("[DEC]"), 6);
  EXPECT_EQ(tokenizer->encode("a<image>[DEC]", false), (Ids{5, 7, 6}));
  expect_saved_is_same(*tokenizer);
  EXPECT_EQ(load("added_tokens.json", R"({"<image>": 6, "[DEC]": 7})")->find("[DEC]"), 7);
  EXPECT_EQ(load("added_tokens.json", R"({"<image>": 6})")->find("[DEC]"), 7);
  EXPECT_EQ(load("tokenizer.json", R"({"added_tokens": [{"id": 1, "content": "[UNK]"},
                                      {"id": 6, "content": "[DEC]"}]})")
                ->vocabulary_size(),
            7);
  vocabulary("[DEC]\n[PAD]\n[UNK]\n[CLS]\n[SEP]\n");
  EXPECT_EQ(load("added_tokens.json", "{}")->encode("[DEC]", false), Ids{0});
}

TEST_F(WordPieceFolder, TokenizerJsonGetsADecoderTokenToo) {
  auto load_with = [&](const std::string& added) {
    return load("tokenizer.json", R"({"added_tokens": )" + added + R"(, "model": {"type": "WordPiece",
                "unk_token": "[UNK]", "vocab": {"[UNK]": 0, "a": 1}}})");
  };
  EXPECT_EQ(load_with("[]")->find("[DEC]"), 2);
  EXPECT_EQ(load_with(R"([{"id": 2, "content": "<image>"}])")->find("[DEC]"), 3);
  EXPECT_EQ(load_with(R"([{"id": 3, "content": "<image>"}])")->find("[DEC]"), 2) << "between the two";
  EXPECT_EQ(load_with(R"([{"id": 3, "content": "<image>"}, {"id": 2, "content": "[DEC]"}])")->vocabulary_size(), 4);
  expect_saved_is_same(*load_with("[]"));
}

TEST_F(WordPieceFolder, AddedTokensMustFollowWithoutGaps) {
  EXPECT_USER_ERROR(load("added_tokens.json", R"({"<image>": 8})"),
                    "the added token '<image>' has the id 8, expected 6, the first one behind vocab.txt");
  EXPECT_USER_ERROR(load("added_tokens.json", R"({"<image>": 3})"), "the added token '<image>' has the id 3");
}

TEST_F(WordPieceFolder, ConfigSaysWhetherCaseMatters) {
  const auto cased = load("tokenizer_config.json", R"({"do_lower_case": false})");
  EXPECT_EQ(cased->encode("A", false), Ids{1});
  expect_saved_is_same(*cased);
  EXPECT_EQ(load("tokenizer_config.json", R"({"do_lower_case": null})")->encode("A", false), Ids{5});
}

TEST_F(WordPieceFolder, DamagedSideFilesAreRefusedInOneSentence) {
  const std::string config = "tokenizer_config.json";
  EXPECT_USER_ERROR(load(config, "[]"), "tokenizer_config.json' must hold a JSON object, found array");
  EXPECT_USER_ERROR(load(config, "{"), "tokenizer_config.json' is not JSON");
  EXPECT_USER_ERROR(load(config, R"({"do_lower_case": 1})"), "'do_lower_case' must be true or false");
  EXPECT_USER_ERROR(load(config, R"({"bos_token": 1})"), "'bos_token' must be a token or an object with its content");
  EXPECT_USER_ERROR(load(config, R"({"extra_ids": -1})"), "'extra_ids' must be an id from 0 to 16777215");
  EXPECT_USER_ERROR(load(config, R"({"added_tokens_decoder": []})"), "must be an object from ids to tokens");
  EXPECT_USER_ERROR(load(config, R"({"added_tokens_decoder": {"x": "a"}})"), "found the key 'x'");
  EXPECT_USER_ERROR(load(config, R"({"added_tokens_decoder": {"4000000000": "a"}})"), "found the key '4000000000'");
  EXPECT_USER_ERROR(load("added_tokens.json", R"({"<image>": "x"})"), "'<image>' must be an id from 0 to 16777215");
  EXPECT_USER_ERROR(load("tokenizer.json", R"({"added_tokens": {}})"), "'added_tokens' must be a list");
  EXPECT_USER_ERROR(load("tokenizer.json", R"({"added_tokens": [{"content": "a"}]})"),
                    "'added_tokens[0].id' is missing, expected an integer from 0 to 16777215");
  const std::string deep = std::string(100'000, '[') + std::string(100'000, ']');
  EXPECT_USER_ERROR(load("tokenizer.json", R"({"pre_tokenizer": )" + deep + "}"), "nested more than 100 levels deep");
}

TEST(SaveTokenizer, FolderThatIsNotThereIsAWorldError) {
  TemporaryFolder folder;
  EXPECT_WORLD_ERROR(load_tokenizer(text_data("opt"))->save(folder.path() / "none"), "vocab.json");
  EXPECT_WORLD_ERROR(load_tokenizer(text_data("t5"))->save(folder.path() / "none"), "spiece.model");
}

}  // namespace
}  // namespace blip2
