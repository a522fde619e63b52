// tokenizer.json against Hugging Face's library: every part alone, and the files of OPT, T5, BERT and GPT-2 as a whole.
#include "blip2/text/tokenizer_json.h"

#include <chrono>
#include <thread>

#include "blip2/text/load_tokenizer.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "text/reference_lines.h"

namespace blip2 {
namespace {

using Ids = std::vector<std::int64_t>;
using Json = nlohmann::json;

const std::filesystem::path kShared = BLIP2_SHARED_DATA;

void expect_lines(const Tokenizer& tokenizer, const std::vector<Json>& lines) {
  for (const auto& line : lines) {
    const Ids ids = line["ids"];
    EXPECT_EQ(tokenizer.encode(line["text"]), ids) << line["text"];
    EXPECT_EQ(tokenizer.decode(ids), line["decoded"].get<std::string>()) << line["text"];
    EXPECT_EQ(tokenizer.decode(ids, false), line["decoded_raw"].get<std::string>()) << line["text"];
    if (line.contains("decoded_clean")) {
      EXPECT_EQ(clean_up_spaces(tokenizer.decode(ids)), line["decoded_clean"].get<std::string>()) << line["text"];
    }
  }
}

TEST(TokenizerJson, IdsAndTextOfOptAreTheReferences) {
  const auto tokenizer = load_tokenizer_json(text_data("tokenizer_json/opt.json"));
  const auto lines = reference_lines(text_data("opt.jsonl"));
  ASSERT_EQ(lines.size(), 481u);
  expect_lines(*tokenizer, lines);
  EXPECT_EQ(tokenizer->prefix_length(), 1);
  EXPECT_EQ(tokenizer->suffix_length(), 0);
  EXPECT_EQ(tokenizer->vocabulary_size(), 566);
  EXPECT_EQ(tokenizer->find("<image>"), 565);
  EXPECT_EQ(tokenizer->find("<none>"), std::nullopt);
  EXPECT_EQ(tokenizer->token(565), "<image>");
}

TEST(TokenizerJson, IdsAndTextOfT5AreTheReferences) {
  const auto tokenizer = load_tokenizer_json(text_data("tokenizer_json/t5.json"));
  const auto lines = reference_lines(text_data("t5.jsonl"));
  ASSERT_EQ(lines.size(), 481u);
  expect_lines(*tokenizer, lines);
  EXPECT_EQ(tokenizer->prefix_length(), 0);
  EXPECT_EQ(tokenizer->suffix_length(), 1);
  EXPECT_EQ(tokenizer->padding_id(), 0);
}

TEST(TokenizerJson, EveryPartGivesTheReferences) {
  const auto cases = reference_lines(text_data("tokenizer_json/components.jsonl"));
  ASSERT_GT(cases.size(), 80u);
  for (const auto& one : cases) {
    SCOPED_TRACE(one["name"].get<std::string>());
    const auto tokenizer = parse_tokenizer_json(one["tokenizer"].dump(), "case");
    for (const auto& line : one["lines"]) {
      const Ids ids = line.contains("ids") ? line["ids"] : line["decoded_ids"];
      if (line.contains("decoded")) {
        EXPECT_EQ(tokenizer->decode(ids), line["decoded"].get<std::string>()) << line;
        EXPECT_EQ(tokenizer->decode(ids, false), line["decoded_raw"].get<std::string>()) << line;
      }
      if (!line.contains("text")) continue;
      EXPECT_EQ(tokenizer->encode(line["text"]), ids) << line["text"];
      EXPECT_EQ(tokenizer->encode(line["text"], false), line["plain_ids"].get<Ids>()) << line["text"];
    }
  }
}

TEST(TokenizerJson, FilesOfTheReferenceSetGiveTheReferences) {
  const auto models = kShared / "fixtures/huggingface";
  if (!std::filesystem::exists(models)) GTEST_SKIP() << "the tests above read copies of these files";
  const auto opt = reference_lines(models / "tokenizers/opt_tokenizer_json.jsonl");
  ASSERT_EQ(opt.size(), 481u);
  expect_lines(*load_tokenizer(models / "opt_tiny/model"), opt);
  const auto t5 = reference_lines(models / "tokenizers/t5_tokenizer_json.jsonl");
  ASSERT_EQ(t5.size(), 481u);
  expect_lines(*load_tokenizer(models / "t5_tiny/model"), t5);
}

Json special(const std::string& content, std::int64_t id) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", true}};
}

TEST(TokenizerJson, IdsAndTextOfBertAreTheReferences) {
  if (!std::filesystem::exists(kShared / "tokenizers/bert-base-uncased-vocab.txt")) {
    GTEST_SKIP() << "EveryPartGivesTheReferences has each of BERT's parts with a smaller vocabulary";
  }
  Json vocabulary, added;
  std::ifstream stream(kShared / "tokenizers/bert-base-uncased-vocab.txt");
  std::int64_t next = 0;
  for (std::string line; std::getline(stream, line);) vocabulary[line] = next++;
  for (const char* token : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}) {
    added.push_back(special(token, vocabulary[token]));
  }
  const Json root = {{"added_tokens", added},
                     {"normalizer", {{"type", "BertNormalizer"}}},
                     {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
                     {"post_processor", {{"type", "BertProcessing"}, {"sep", {"[SEP]", 102}}, {"cls", {"[CLS]", 101}}}},
                     {"decoder", {{"type", "WordPiece"}}},
                     {"model", {{"type", "WordPiece"}, {"unk_token", "[UNK]"}, {"vocab", vocabulary}}}};
  const auto lines = reference_lines(kShared / "fixtures/huggingface/tokenizers/bert.jsonl");
  ASSERT_EQ(lines.size(), 391u);
  expect_lines(*parse_tokenizer_json(root.dump(), "bert"), lines);
}

TEST(TokenizerJson, IdsAndTextOfGpt2AreTheReferences) {
  if (!std::filesystem::exists(kShared / "tokenizers/gpt2-vocab.json")) {
    GTEST_SKIP() << "IdsAndTextOfOptAreTheReferences has the same parts with a smaller vocabulary";
  }
  Json merges = Json::array();
  std::ifstream stream(kShared / "tokenizers/gpt2-merges.txt");
  for (std::string line; std::getline(stream, line);) merges.push_back(line);
  const Json model = {
      {"type", "BPE"}, {"vocab", Json::parse(read_text(kShared / "tokenizers/gpt2-vocab.json"))}, {"merges", merges}};
  const Json root = {{"added_tokens", {special("<|endoftext|>", 50256)}},
                     {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
                     {"post_processor", {{"type", "ByteLevel"}}},
                     {"decoder", {{"type", "ByteLevel"}}},
                     {"model", model}};
  const auto lines = reference_lines(kShared / "fixtures/huggingface/tokenizers/gpt2.jsonl");
  ASSERT_EQ(lines.size(), 391u);
  expect_lines(*parse_tokenizer_json(root.dump(), "gpt2"), lines);
}

/** Words that are known, others are [UNK] 0. */
Json words(std::initializer_list<const char*> known) {
  Json root = {{"pre_tokenizer", {{"type", "WhitespaceSplit"}}},
               {"model", {{"type", "WordLevel"}, {"unk_token", "[UNK]"}, {"vocab", {{"[UNK]", 0}}}}}};
  for (const char* word : known) root["model"]["vocab"][word] = root["model"]["vocab"].size();
  return root;
}

TEST(TokenizerJson, PaddingIsWhatTheFilesSay) {
  auto padding = [](const Json& root, std::optional<std::string> named = std::nullopt) {
    TokenizerJsonOptions options;
    options.padding = std::move(named);
    return parse_tokenizer_json(root.dump(), "file", options)->padding_id();
  };
  Json root = words({"a", "<pad>", "[PAD]"});
  EXPECT_EQ(padding(root), 2);
  EXPECT_EQ(padding(root, "a"), 1);
  EXPECT_USER_ERROR(padding(root, ""), "the tokenizer has no padding token");
  EXPECT_USER_ERROR(padding(root, "none"), "'file': the vocabulary has no token 'none', which is named as pad_token");
  root["padding"] = {{"pad_token", "a"}};
  EXPECT_EQ(padding(root), 1);
  EXPECT_USER_ERROR(padding(words({"a"})), "the tokenizer has no padding token");
}

TEST(TokenizerJson, SideFilesAddTokensAndMakeThemSpecial) {
  TokenizerJsonOptions options;
  options.added_tokens = {{"<new>", 3}, {"a", 77}};
  options.special_tokens = {"dog", "none"};
  options.wordpiece_token = "[DEC]";
  const auto tokenizer = parse_tokenizer_json(words({"a", "dog"}).dump(), "file", options);
  EXPECT_EQ(tokenizer->encode("a<new>dog"), (Ids{1, 3, 2}));
  EXPECT_EQ(tokenizer->vocabulary_size(), 4) << "[DEC] is for WordPiece alone";
  EXPECT_EQ(tokenizer->decode({0, 1, 2, 3}), "[UNK]");
  EXPECT_EQ(tokenizer->decode({0, 1, 2, 3}, false), "[UNK] a dog <new>") << "without a decoder tokens are told apart";
}

TEST(TokenizerJson, IdsOutsideTheVocabularyAreRefused) {
  const auto tokenizer = parse_tokenizer_json(words({"a"}).dump(), "file");
  EXPECT_EQ(tokenizer->decode({-1, 2}), "");
  EXPECT_USER_ERROR(tokenizer->token(2), "token id 2 lies outside the vocabulary of 2");
  EXPECT_USER_ERROR(tokenizer->token(-1), "token id -1 lies outside the vocabulary of 2");
}

TEST(TokenizerJson, IllFormedTextReadsAsReplacements) {
  for (const char* name : {"tokenizer_json/opt.json", "tokenizer_json/t5.json"}) {
    const auto tokenizer = load_tokenizer_json(text_data(name));
    EXPECT_EQ(tokenizer->encode("a dog\xff\xc3"), tokenizer->encode("a dog\ufffd\ufffd"));
  }
}

TEST(TokenizerJson, SavedIsTheSameFile) {
  TemporaryFolder folder;
  TokenizerJsonOptions options;
  options.companions = {{"tokenizer_config.json", "{}"}, {"tokenizer.json", "not this one"}};
  const auto file = text_data("tokenizer_json/opt.json");
  load_tokenizer_json(file, options)->save(folder.path());
  EXPECT_EQ(read_text(folder.path() / "tokenizer.json"), read_text(file));
  EXPECT_EQ(read_text(folder.path() / "tokenizer_config.json"), "{}");
  EXPECT_WORLD_ERROR(load_tokenizer_json(file)->save(folder.path() / "none"), "tokenizer.json");
}

TEST(TokenizerJson, ThreadsMayShareATokenizer) {
  const auto tokenizer = load_tokenizer_json(text_data("tokenizer_json/t5.json"));
  const auto lines = reference_lines(text_data("t5.jsonl"));
  std::vector<int> wrong(4, 0);
  std::vector<std::thread> threads;
  for (auto& count : wrong) {
    threads.emplace_back([&] {
      for (const auto& line : lines) count += tokenizer->encode(line["text"]) != line["ids"].get<Ids>();
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

TEST(TokenizerJson, LongTextWithoutSpacesTakesNoQuadraticTime) {
  std::string text;
  while (text.size() < 500'000) text += "theinonat";
  for (const char* name : {"tokenizer_json/opt.json", "tokenizer_json/t5.json"}) {
    const auto start = std::chrono::steady_clock::now();
    const auto tokenizer = load_tokenizer_json(text_data(name));
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60));  // quadratic would be an hour
  }
}

}  // namespace
}  // namespace blip2
