// Exported tokenizers are the ones they were, whatever files they came from; scripts/check_export.py asks Python too.
#include "blip2/text/tokenizer_export.h"

#include "blip2/core/config.h"
#include "blip2/text/bpe_training.h"
#include "blip2/text/byte_bpe.h"
#include "blip2/text/load_tokenizer.h"
#include "blip2/text/sentencepiece.h"
#include "blip2/text/wordpiece.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "text/reference_lines.h"

namespace blip2 {
namespace {

using Ids = std::vector<std::int64_t>;

void expect_same(const Tokenizer& expected, const Tokenizer& actual, bool (*differs)(const std::string&) = nullptr) {
  ASSERT_EQ(actual.vocabulary_size(), expected.vocabulary_size());
  for (std::int64_t id = 0; id < expected.vocabulary_size(); ++id) ASSERT_EQ(actual.token(id), expected.token(id));
  EXPECT_EQ(actual.padding_id(), expected.padding_id());
  for (const auto& line : reference_lines(text_data("opt.jsonl"))) {
    const std::string text = line["text"];
    if (differs != nullptr && differs(text)) continue;
    const Ids ids = expected.encode(text);
    ASSERT_EQ(actual.encode(text), ids) << text;
    ASSERT_EQ(actual.decode(ids), expected.decode(ids)) << text;
    ASSERT_EQ(actual.decode(ids, false), expected.decode(ids, false)) << text;
  }
}

std::vector<std::string> file_names(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) names.push_back(entry.path().filename());
  return names;
}

/** The exported tokenizer, read again. */
std::unique_ptr<Tokenizer> exported(const Tokenizer& tokenizer, const TemporaryFolder& folder,
                                    const TokenizerExport& options = {}) {
  export_tokenizer(tokenizer, folder.path(), options);
  EXPECT_THAT(file_names(folder.path()),
              testing::UnorderedElementsAre("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"));
  const auto written = load_json(folder.path() / "tokenizer.json");
  std::int64_t last = -1;
  for (const auto& token : written.at("added_tokens")) {
    EXPECT_LT(last, token["id"]) << "Python numbers them in this order";
    last = token["id"];
  }
  return load_tokenizer(folder.path());
}

TEST(TokenizerExport, ByteBpeStaysTheSame) {
  const TemporaryFolder folder;
  const auto tokenizer = load_tokenizer(text_data("opt"));
  expect_same(*tokenizer, *exported(*tokenizer, folder));
  const auto config = load_json(folder.path() / "tokenizer_config.json");
  EXPECT_EQ(config["tokenizer_class"], "PreTrainedTokenizerFast");
  EXPECT_EQ(config["eos_token"], "</s>");
  EXPECT_EQ(config["pad_token"], "<pad>");
  EXPECT_FALSE(config.contains("added_tokens_decoder"));
  EXPECT_EQ(load_json(folder.path() / "special_tokens_map.json")["bos_token"], "</s>");
}

TEST(TokenizerExport, WordPieceStaysTheSame) {
  const TemporaryFolder folder;
  const WordPieceTokenizer tokenizer(text_data("lavis_vocab.txt"));
  const auto loaded = exported(tokenizer, folder);
  expect_same(tokenizer, *loaded);
  EXPECT_EQ(loaded->find("[DEC]"), tokenizer.decoder_id());
  EXPECT_EQ(load_json(folder.path() / "special_tokens_map.json"), nlohmann::json({{"bos_token", "[DEC]"},
                                                                                  {"cls_token", "[CLS]"},
                                                                                  {"mask_token", "[MASK]"},
                                                                                  {"pad_token", "[PAD]"},
                                                                                  {"sep_token", "[SEP]"},
                                                                                  {"unk_token", "[UNK]"}}));
}

TEST(TokenizerExport, WordPieceKeepsItsCase) {
  const TemporaryFolder source, folder;
  write_text(source.path() / "vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\nA\na\n");
  write_text(source.path() / "tokenizer_config.json", R"({"do_lower_case": false})");
  const auto tokenizer = load_tokenizer(source.path());
  EXPECT_EQ(exported(*tokenizer, folder)->encode("A a"), (Ids{2, 4, 5, 3}));
}

TEST(TokenizerExport, SentencePieceStaysTheSame) {
  for (const bool trailing : {false, true}) {
    SCOPED_TRACE(trailing);
    const TemporaryFolder folder;
    T5TokenizerOptions options;
    options.trailing_space_is_token = trailing;
    options.added_tokens = {{"<image>", 500}};
    const T5Tokenizer tokenizer(text_data("t5/spiece.model"), options);
    // See sentencepiece.h for the texts where the library and the format differ.
    expect_same(tokenizer, *exported(tokenizer, folder),
                [](const std::string& text) { return has_composed_marks(text) || has_next_line(text); });
  }
}

TEST(TokenizerExport, TokenizerJsonIsKeptWithTokensThatOnlyOtherFilesName) {
  const TemporaryFolder source, folder;
  std::filesystem::copy(text_data("tokenizer_json/opt.json"), source.path() / "tokenizer.json");
  const auto plain = load_tokenizer(source.path());
  const std::int64_t next = plain->vocabulary_size();
  write_text(source.path() / "added_tokens.json", R"({"<spare>": )" + std::to_string(next) + "}");
  write_text(source.path() / "tokenizer_config.json",
             R"({"padding_side": "right", "name_or_path": "elsewhere", "clean_up_tokenization_spaces": true})");
  const auto tokenizer = load_tokenizer(source.path());
  const auto loaded = exported(*tokenizer, folder, {std::nullopt, PaddingSide::kLeft});
  expect_same(*tokenizer, *loaded);
  EXPECT_EQ(load_json(folder.path() / "tokenizer.json")["added_tokens"].back()["id"], next);
  const auto config = load_json(folder.path() / "tokenizer_config.json");
  EXPECT_EQ(config["padding_side"], "left");
  EXPECT_EQ(config["clean_up_tokenization_spaces"], false);  // as Python ignores it with a warning
  EXPECT_FALSE(config.contains("name_or_path"));
}

TEST(ImageToken, IsTheOneThatTheTokenizerHas) {
  const TemporaryFolder folder;
  const auto tokenizer = load_tokenizer(text_data("opt"));
  EXPECT_EQ(image_token_id(*tokenizer, 592), 565);
  EXPECT_EQ(exported(*tokenizer, folder, {565})->vocabulary_size(), tokenizer->vocabulary_size());
  EXPECT_USER_ERROR(image_token_id(*tokenizer, 565), "no room for '<image>'");
}

TEST(ImageToken, TakesTheFirstSpareRow) {
  const TemporaryFolder folder;
  const auto tokenizer = make_byte_bpe(train_byte_bpe({"a dog"}, 262));
  const std::int64_t size = tokenizer->vocabulary_size();
  ASSERT_EQ(image_token_id(*tokenizer, size + 1), size);
  const auto loaded = exported(*tokenizer, folder, {size, PaddingSide::kLeft});
  EXPECT_EQ(loaded->encode("<image>a dog")[1], size);
  EXPECT_EQ(loaded->token(3), "<unk>");
  EXPECT_EQ(load_json(folder.path() / "tokenizer_config.json")["padding_side"], "left");
}

TEST(ImageToken, TakesTheUnreachableTokenWhereNoRowIsSpare) {
  const TemporaryFolder folder;
  const auto tokenizer = make_byte_bpe(train_byte_bpe({"a dog"}, 262));
  const std::int64_t size = tokenizer->vocabulary_size();
  ASSERT_EQ(image_token_id(*tokenizer, size), 3);
  const auto loaded = exported(*tokenizer, folder, {3});
  EXPECT_EQ(loaded->vocabulary_size(), size);
  EXPECT_EQ(loaded->token(3), "<image>");
  for (const std::string text : {"a dog", "<unk>", "\n</s> dog"})
    EXPECT_EQ(loaded->encode(text), tokenizer->encode(text));
  EXPECT_EQ(image_token_id(*loaded, size), 3);
}

TEST(ImageToken, IsRefusedWhereItWouldTakeAnothersPlaceOrLeaveAGap) {
  const TemporaryFolder folder;
  const auto with = load_tokenizer(text_data("opt"));
  EXPECT_USER_ERROR((export_tokenizer(*with, folder.path(), {7}), 0),
                    "the model's image_token_index is 7, expected 565, where its tokenizer has '<image>'");
  const auto without = make_byte_bpe(train_byte_bpe({"a dog"}, 262));
  const std::int64_t size = without->vocabulary_size();
  for (const std::int64_t id : {std::int64_t{-1}, std::int64_t{7}, size - 1, size + 1}) {
    EXPECT_USER_ERROR((export_tokenizer(*without, folder.path(), {id}), 0),
                      "the model's image_token_index is " + std::to_string(id) + ", expected " + std::to_string(size) +
                          ", the first id behind its tokenizer's");
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(ImageToken, TakesNoPlaceThatTextReaches) {
  const TemporaryFolder source;
  const auto plain = make_byte_bpe(train_byte_bpe({"a dog"}, 262));
  plain->save(source.path());
  auto config = load_json(source.path() / "tokenizer_config.json");
  config.erase("unk_token");
  write_text(source.path() / "tokenizer_config.json", config.dump());
  write_text(source.path() / "special_tokens_map.json", R"({"unk_token": "<unk>"})");
  const auto tokenizer = load_tokenizer(source.path());
  const std::int64_t size = tokenizer->vocabulary_size();
  ASSERT_EQ(tokenizer->encode("<unk>", false), (Ids{3}));
  EXPECT_USER_ERROR(image_token_id(*tokenizer, size), "no room for '<image>'");
  EXPECT_EQ(image_token_id(*tokenizer, size + 1), size);
  EXPECT_USER_ERROR((export_tokenizer(*tokenizer, source.path(), {3}), 0), "image_token_index is 3, expected ");
}

TEST(ImageToken, LeavesNoNameOfTheTokenThatGaveItsPlace) {
  const TemporaryFolder folder;
  ByteBpeOptions options;
  options.companions["tokenizer_config.json"] = R"({"unk_token": "<unk>", "bos_token": "</s>"})";
  const ByteBpeTokenizer tokenizer(train_byte_bpe({"a dog"}, 262), options, "test");
  const auto loaded = exported(tokenizer, folder, {image_token_id(tokenizer, tokenizer.vocabulary_size())});
  EXPECT_EQ(loaded->token(3), "<image>");
  for (const char* file : {"tokenizer_config.json", "special_tokens_map.json"}) {
    const auto names = load_json(folder.path() / file);
    EXPECT_FALSE(names.contains("unk_token")) << file;
    EXPECT_EQ(names["bos_token"], "</s>") << file;
  }
}

TEST(ImageToken, IsRefusedWhereAnotherKindOfTokenizerHasNoRow) {
  const T5Tokenizer without(text_data("t5/spiece.model"));
  EXPECT_EQ(image_token_id(without, 512), without.vocabulary_size());
  EXPECT_USER_ERROR(image_token_id(without, without.vocabulary_size()),
                    "the language model has 500 rows in its token table and the tokenizer needs 501");
}

}  // namespace
}  // namespace blip2
