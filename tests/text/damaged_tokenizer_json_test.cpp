// A tokenizer.json that anyone may have written: every refusal is one sentence with the file and the place in it.
#include <chrono>

#include "blip2/text/tokenizer_json.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "text/reference_lines.h"

namespace blip2 {
namespace {

using Json = nlohmann::json;

std::unique_ptr<Tokenizer> parse(const std::string& bytes) {
  return parse_tokenizer_json(bytes, "f.json");
}

/** A good file but for one part. */
Json file_with(const std::string& pointer, const Json& value) {
  Json root = {{"model", {{"type", "BPE"}, {"vocab", {{"a", 0}, {"b", 1}, {"ab", 2}}}, {"merges", {"a b"}}}}};
  root[Json::json_pointer(pointer)] = value;
  return root;
}

/** The same with a value as it is written. */
std::unique_ptr<Tokenizer> parse_with(const std::string& pointer, const std::string& value) {
  return parse(file_with(pointer, Json::parse(value)).dump());
}

TEST(DamagedTokenizerJson, GoodNeighbourIsRead) {
  EXPECT_EQ(parse(file_with("/normalizer", nullptr).dump())->encode("ab"), std::vector<std::int64_t>{2});
}

TEST(DamagedTokenizerJson, WhatIsNoJsonIsRefused) {
  EXPECT_USER_ERROR(parse(""), "'f.json' is not JSON: parse error");
  EXPECT_USER_ERROR(parse("{\"a\": \"\xff\"}"), "'f.json' is not JSON");
  EXPECT_USER_ERROR(parse(std::string(200, '[')), "'f.json' is nested more than 100 levels deep");
  EXPECT_USER_ERROR(parse("[]"), "'f.json': the file must be an object, found a list");
  EXPECT_USER_ERROR(parse("{}"), "'f.json': 'model' is missing, expected the model that finds tokens in words");
  EXPECT_USER_ERROR(load_tokenizer_json("none.json"), "none.json': no such file");
}

TEST(DamagedTokenizerJson, UnknownTypesAreNamedWithTheirPlace) {
  EXPECT_USER_ERROR(parse_with("/normalizer", R"({"type": "Nmt"})"),
                    "'f.json': 'normalizer.type' must be BertNormalizer, Lowercase, NFC, NFD, NFKC, NFKD, "
                    "Precompiled, Prepend, Replace, Sequence, Strip or StripAccents, found 'Nmt'");
  EXPECT_USER_ERROR(
      parse_with("/normalizer", R"({"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "x\n"}]})"),
      R"('f.json': 'normalizer.normalizers[1].type' must be BertNormalizer)");
  EXPECT_USER_ERROR(parse_with("/pre_tokenizer", R"({"type": "UnicodeScripts"})"),
                    "'f.json': 'pre_tokenizer.type' must be BertPreTokenizer, ByteLevel, Digits, Metaspace, "
                    "Punctuation, Sequence, Split, Whitespace or WhitespaceSplit, found 'UnicodeScripts'");
  EXPECT_USER_ERROR(parse_with("/post_processor", R"({"type": "x"})"),
                    "'f.json': 'post_processor.type' must be BertProcessing, ByteLevel, RobertaProcessing, Sequence "
                    "or TemplateProcessing, found 'x'");
  EXPECT_USER_ERROR(parse_with("/decoder", R"({"type": "CTC"})"),
                    "'f.json': 'decoder.type' must be BPEDecoder, ByteFallback, ByteLevel, Fuse, Metaspace, Replace, "
                    "Sequence, Strip or WordPiece, found 'CTC'");
  EXPECT_USER_ERROR(parse_with("/model/type", R"("Neural")"),
                    "'f.json': 'model.type' must be BPE, Unigram, WordPiece or WordLevel, found 'Neural'");
}

TEST(DamagedTokenizerJson, WrongJsonTypesAreRefused) {
  EXPECT_USER_ERROR(parse_with("/normalizer", "3"), "'f.json': 'normalizer' must be an object, found 3");
  EXPECT_USER_ERROR(parse_with("/normalizer", "{}"), "'f.json': 'normalizer.type' is missing, expected a string");
  EXPECT_USER_ERROR(parse_with("/decoder", R"({"type": []})"), "'decoder.type' must be a string, found a list");
  EXPECT_USER_ERROR(parse_with("/pre_tokenizer", R"({"type": "Sequence", "pretokenizers": {}})"),
                    "'pre_tokenizer.pretokenizers' must be a list, found an object");
  EXPECT_USER_ERROR(parse_with("/pre_tokenizer", R"({"type": "ByteLevel", "use_regex": "yes"})"),
                    "'pre_tokenizer.use_regex' must be true or false, found 'yes'");
  EXPECT_USER_ERROR(parse_with("/model/vocab", "[]"),
                    "'f.json': 'model.vocab' must hold a JSON object from tokens to ids, found array");
  EXPECT_USER_ERROR(parse_with("/model/vocab", "{}"), "'model.vocab' holds no tokens");
  EXPECT_USER_ERROR(parse_with("/model/merges", R"("a b")"), "'model.merges' must be a list of merges, found 'a b'");
  EXPECT_USER_ERROR(parse_with("/model", "[1]"), "'model' must be an object, found a list");
}

TEST(DamagedTokenizerJson, IdsMustBeThereOnceAndWithoutGaps) {
  EXPECT_USER_ERROR(parse_with("/model/vocab/b", "-1"), "the id of token 'b' must be an integer from 0 to 16777215");
  EXPECT_USER_ERROR(parse_with("/model/vocab/b", "99999999999"), "found '99999999999'");
  EXPECT_USER_ERROR(parse_with("/model/vocab/b", "0"), "'f.json': the tokens 'a' and 'b' have the same id 0");
  EXPECT_USER_ERROR(parse_with("/model/vocab/b", "7"),
                    "'f.json': token 'b' has the id 7, expected the ids 0 to 2 without gaps");
  EXPECT_USER_ERROR(parse_with("/added_tokens", R"([{"id": 1, "content": "x"}])"),
                    "the tokens 'b' and 'x' have the same id 1");
  EXPECT_USER_ERROR(parse_with("/added_tokens", R"([{"id": 4, "content": "x"}])"), "token 'x' has the id 4");
  EXPECT_USER_ERROR(parse_with("/added_tokens", R"([{"id": 16777216, "content": "x"}])"),
                    "'added_tokens[0].id' must be an integer from 0 to 16777215, found 16777216");
  EXPECT_USER_ERROR(parse_with("/added_tokens", R"([{"id": 1.5, "content": "x"}])"), "found 1.5");
  EXPECT_USER_ERROR(parse_with("/added_tokens", R"([{"content": "x"}])"), "'added_tokens[0].id' is missing");
  EXPECT_USER_ERROR(parse_with("/added_tokens", R"([{"id": 3, "content": ""}])"), "'added_tokens[0]' is empty");
  EXPECT_USER_ERROR(parse_with("/added_tokens", R"([{"id": 3, "content": "x"}, {"id": 4, "content": "x"}])"),
                    "'added_tokens[1]' repeats the token 'x'");
  EXPECT_USER_ERROR(parse_with("/added_tokens", "{}"), "'added_tokens' must be a list, found an object");
}

TEST(DamagedTokenizerJson, MergesMustFitTheVocabulary) {
  for (const char* merge : {R"("ab")", R"("a b b")", R"(["a"])", R"(["a", 1])", "1"}) {
    EXPECT_USER_ERROR(parse_with("/model/merges/0", merge),
                      R"('f.json': 'model.merges[0]' must be two tokens, as "a b" or ["a", "b"], found)");
  }
  EXPECT_USER_ERROR(parse_with("/model/merges/0", R"("a c")"),
                    "'model.merges[0]' needs the token 'c', which the model's vocabulary lacks");
  EXPECT_USER_ERROR(parse_with("/model/merges/0", R"(["b", "a"])"), "'model.merges[0]' needs the token 'ba'");
  EXPECT_USER_ERROR(parse_with("/model/continuing_subword_prefix", R"("##")"),
                    "'model.merges[0]' has the right token 'b', expected one that begins with '##'");
  EXPECT_USER_ERROR(parse_with("/model/unk_token", R"("<unk>")"),
                    "'model.unk_token' must be a token of the model's vocabulary, found '<unk>'");
  EXPECT_USER_ERROR(parse_with("/model/dropout", "0.1"), "'model.dropout' must be null or 0, as merges left out");
}

TEST(DamagedTokenizerJson, UnigramPiecesMustHaveScores) {
  auto pieces = [](const std::string& vocabulary, const std::string& unknown = "0") {
    return parse(R"({"model": {"type": "Unigram", "unk_id": )" + unknown + R"(, "vocab": )" + vocabulary + "}}");
  };
  EXPECT_USER_ERROR(pieces(R"([["a", NaN]])"), "'f.json' is not JSON");
  EXPECT_USER_ERROR(pieces(R"([["a", 1e999]])"), "'f.json' is not JSON");
  EXPECT_USER_ERROR(pieces(R"([["a", null]])"),
                    R"('model.vocab[0]' must be a piece and its score, as ["a", -3.5], found a list)");
  EXPECT_USER_ERROR(pieces(R"([["a", 0], ["b"]])"), "'model.vocab[1]' must be a piece and its score");
  EXPECT_USER_ERROR(pieces(R"([["a", 0], ["a", 0]])"), "'model.vocab[1]' repeats the piece 'a' of the id 0");
  EXPECT_USER_ERROR(pieces("[]"), "'model.vocab' must be a list of 1 to 16777216 pieces and scores, found a list");
  EXPECT_USER_ERROR(pieces(R"([["a", 0]])", "1"), "'model.unk_id' must be an integer from 0 to 0, found 1");
  EXPECT_USER_ERROR(pieces(R"([["a", 0]])", "-1"), "'model.unk_id' must be an integer from 0 to 0, found -1");
  EXPECT_USER_ERROR(pieces(R"([["a", 0]])", "18446744073709551615"), "found 18446744073709551615");
  EXPECT_USER_ERROR(pieces(R"([["a", 0]])", "null")->encode("ax"),
                    "'f.json': no piece holds the character 'x' of a text, and the model has no unk_id");
}

TEST(DamagedTokenizerJson, WordModelsNeedTheirUnknownToken) {
  EXPECT_USER_ERROR(parse(R"({"model": {"type": "WordPiece", "vocab": {"a": 0}}})"),
                    "'model.unk_token' is missing, expected a string");
  EXPECT_USER_ERROR(parse(R"({"model": {"type": "WordPiece", "vocab": {"a": 0}, "unk_token": "u"}})"),
                    "'model.unk_token' must be a token of the model's vocabulary, found 'u'");
  EXPECT_USER_ERROR(
      parse(R"({"model": {"type": "WordPiece", "vocab": {"u": 0}, "unk_token": "u", "max_input_chars_per_word": -1}})"),
      "'model.max_input_chars_per_word' must be an integer from 0 to 1000000, found -1");
  EXPECT_USER_ERROR(parse(R"({"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "u"}})")->encode("b"),
                    "'f.json': the model's vocabulary has neither the word 'b' of a text nor its unknown token 'u'");
}

std::string base64(const std::string& bytes) {
  constexpr const char* kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t bits = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      bits = bits << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0);
    }
    for (std::size_t k = 0; k < 4; ++k) text += i + k > bytes.size() ? '=' : kDigits[bits >> (18 - 6 * k) & 63];
  }
  return text;
}

/** Little-endian words, the first of them the size of the others in bytes, and the replacements. */
std::string charsmap(const std::vector<std::uint32_t>& units, const std::string& replacements) {
  std::string bytes;
  auto append = [&](std::uint32_t word) {
    for (int i = 0; i < 4; ++i) bytes += static_cast<char>(word >> 8 * i & 0xFF);
  };
  append(static_cast<std::uint32_t>(4 * units.size()));
  for (const std::uint32_t unit : units) append(unit);
  return base64(bytes + replacements);
}

std::unique_ptr<Tokenizer> with_charsmap(const std::string& text) {
  return parse(file_with("/normalizer", {{"type", "Precompiled"}, {"precompiled_charsmap", text}}).dump());
}

TEST(DamagedTokenizerJson, CharsmapIsCheckedAtEveryStep) {
  const std::string place = "'f.json': 'normalizer.precompiled_charsmap' ";
  EXPECT_USER_ERROR(with_charsmap("A?=="), place + "is no base64, which a table of characters is written in");
  EXPECT_USER_ERROR(with_charsmap("AAA"), place + "is no base64");
  EXPECT_USER_ERROR(with_charsmap("===="), place + "is no base64");
  EXPECT_USER_ERROR(with_charsmap(""), place + "must begin with the length of its trie, a multiple of 4 up to 0");
  EXPECT_USER_ERROR(with_charsmap(base64(std::string("\x08\0\0\0\0\0\0\0", 8))),
                    place + "must begin with the length of its trie, a multiple of 4 up to 4, found 8");
  EXPECT_USER_ERROR(with_charsmap(base64(std::string("\xff\xff\xff\xff\0\0\0\0", 8))), "found 4294967295");
  EXPECT_USER_ERROR(with_charsmap(base64(std::string("\x03\0\0\0\0\0\0\0", 8))), "up to 4, found 3");
  EXPECT_USER_ERROR(with_charsmap(charsmap({0xFFFFFFFF}, "x")), place + "is damaged: a step leads to unit ");
  EXPECT_USER_ERROR(with_charsmap(charsmap({0}, "x")), place + "is damaged: a step leads to unit 1 of a trie of 1");
  EXPECT_USER_ERROR(with_charsmap(charsmap({0}, "\xff")), place + "holds replacements that are not UTF-8");
}

/** A table with one key, "a", whose value is `start`; the root's offset is 256, so that no step meets another. */
std::string one_key(std::uint32_t start, const std::string& replacements) {
  std::vector<std::uint32_t> units(1024, 0x80000000);  // no byte has such a label
  units[0] = 256 << 10;
  units[256 ^ 'a'] = 512U << 10 | 1U << 8 | 'a';
  units[(256 ^ 'a') ^ 512] = 0x80000000 | start;
  return charsmap(units, replacements);
}

TEST(DamagedTokenizerJson, CharsmapKeysMustLeadToReplacements) {
  EXPECT_EQ(with_charsmap(one_key(1, std::string("\0b\0", 3)))->encode("aa"), (std::vector<std::int64_t>{1, 1}));
  EXPECT_EQ(with_charsmap(one_key(1, std::string("\0b", 2)))->encode("a"), std::vector<std::int64_t>{1});
  EXPECT_USER_ERROR(with_charsmap(one_key(2, "ab")),
                    "'normalizer.precompiled_charsmap' is damaged: a key leads to byte 2 of 2 bytes of replacements");
  EXPECT_USER_ERROR(with_charsmap(one_key(1, "\u00e9")),
                    "a key leads to byte 1 of 2 bytes of replacements, where none");
}

TEST(DamagedTokenizerJson, PatternsMustBePatterns) {
  auto split = [](const std::string& pattern) {
    return parse_with("/pre_tokenizer", R"({"type": "Split", "behavior": "Isolated", "pattern": )" + pattern + "}");
  };
  EXPECT_USER_ERROR(split(R"({"Regex": "(a"})"),
                    "'pre_tokenizer.pattern.Regex' must be a regular expression that ICU reads, found '(a'");
  EXPECT_USER_ERROR(split(R"({"Regex": "\\"})"), "must be a regular expression that ICU reads");
  EXPECT_USER_ERROR(split(R"("a")"), R"('pre_tokenizer.pattern' must be {"String": ...} or {"Regex": ...}, found 'a')");
  EXPECT_USER_ERROR(split(R"({"Glob": "a"})"), R"(must be {"String": ...} or {"Regex": ...}, found an object)");
  EXPECT_USER_ERROR(parse_with("/pre_tokenizer", R"({"type": "Punctuation", "behavior": "Kept"})"),
                    "'pre_tokenizer.behavior' must be Removed, Isolated, MergedWithPrevious, MergedWithNext or "
                    "Contiguous, found 'Kept'");
}

TEST(DamagedTokenizerJson, PatternThatTriesEveryWayIsStopped) {
  const auto tokenizer = parse_with(
      "/pre_tokenizer", R"({"type": "Split", "behavior": "Isolated", "pattern": {"Regex": "(a+)+$|(a|a)*b"}})");
  const auto start = std::chrono::steady_clock::now();
  EXPECT_USER_ERROR(tokenizer->encode(std::string(64, 'a') + "c"),
                    "'f.json': 'pre_tokenizer.pattern.Regex' takes too long to search a text of 65 bytes");
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60));
}

TEST(DamagedTokenizerJson, ReplacementsMustNotExplode) {
  Json doubling = {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", std::string(1000, 'a')}};
  const Json sequence = {{"type", "Sequence"}, {"normalizers", {doubling, doubling, doubling, doubling}}};
  EXPECT_USER_ERROR(parse(file_with("/normalizer", sequence).dump())->encode("a"),
                    "'f.json': 'normalizer.normalizers[2]' makes a text longer than 100000000 bytes");
}

TEST(DamagedTokenizerJson, TemplatesMustHoldTheTextOnce) {
  auto single = [](const std::string& parts, const std::string& ids = "[0]") {
    return parse_with("/post_processor", R"({"type": "TemplateProcessing", "special_tokens": {"x": {"ids": )" + ids +
                                             R"(}}, "single": )" + parts + "}");
  };
  EXPECT_EQ(single(R"([{"SpecialToken": {"id": "x"}}, {"Sequence": {"id": "A"}}])")->prefix_length(), 1);
  EXPECT_USER_ERROR(single("[]"),
                    "'post_processor.single' has no place for the text, expected a Sequence with the id A");
  EXPECT_USER_ERROR(single(R"([{"Sequence": {"id": "B"}}])"), "must be the only text of its template, with the id A");
  EXPECT_USER_ERROR(single(R"([{"Sequence": {"id": "A"}}, {"Sequence": {"id": "A"}}])"),
                    "'post_processor.single[1]' must be the only text of its template, with the id A");
  EXPECT_USER_ERROR(single(R"([{"SpecialToken": {"id": "y"}}])"),
                    "'post_processor.special_tokens.y' is missing, expected the ids of this special token");
  EXPECT_USER_ERROR(single(R"([{"SpecialToken": {"id": "x"}}])", "[3]"),
                    "'post_processor.special_tokens.x.ids[0]' must be an id from 0 to 2, found 3");
  EXPECT_USER_ERROR(single(R"([{"Other": 1}])"), "'post_processor.single[0].SpecialToken' is missing");
  EXPECT_USER_ERROR(parse_with("/post_processor", R"({"type": "BertProcessing", "cls": ["a", 9], "sep": ["a", 0]})"),
                    "'post_processor.cls[1]' must be an id from 0 to 2, found 9");
  EXPECT_USER_ERROR(parse_with("/post_processor", R"({"type": "RobertaProcessing", "cls": "a"})"),
                    R"('post_processor.cls' must be a token and its id, as ["[SEP]", 102], found 'a')");
  const std::string bert = R"({"type": "BertProcessing", "cls": ["a", 0], "sep": ["a", 0]})";
  EXPECT_USER_ERROR(parse_with("/post_processor", R"({"type": "Sequence", "processors": [)" + bert + "," + bert + "]}"),
                    "'post_processor.processors[1]' is the second of its list that adds tokens");
}

TEST(DamagedTokenizerJson, MetaspaceAndStripNeedOneCharacter) {
  EXPECT_USER_ERROR(parse_with("/pre_tokenizer", R"({"type": "Metaspace", "replacement": ""})"),
                    "'pre_tokenizer.replacement' must be one character, found ''");
  EXPECT_USER_ERROR(parse_with("/decoder", R"({"type": "Metaspace", "replacement": "ab"})"), "found 'ab'");
  EXPECT_USER_ERROR(parse_with("/decoder", R"({"type": "Metaspace", "replacement": "_", "prepend_scheme": "often"})"),
                    "'decoder.prepend_scheme' must be always, first or never, found 'often'");
  EXPECT_USER_ERROR(parse_with("/decoder", R"({"type": "Strip", "content": "ab", "start": 1, "stop": 0})"),
                    "'decoder.content' must be one character, found 'ab'");
  EXPECT_USER_ERROR(parse_with("/decoder", R"({"type": "Strip", "content": "a", "start": -1, "stop": 0})"),
                    "'decoder.start' must be an integer from 0 to 1000000000, found -1");
}

}  // namespace
}  // namespace blip2
