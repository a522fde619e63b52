#include "text/tokenizer_json/from_vocabulary.h"

#include <algorithm>
#include <set>

#include "blip2/text/byte_bpe.h"
#include "text/tokenizer_json/sentencepiece_model.h"

namespace blip2 {
namespace {

using Json = nlohmann::json;

/** Special tokens by id, each once; what the tokenizer does not know is left out. */
class AddedList {
 public:
  explicit AddedList(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  void add(AddedToken token) {
    const auto id = tokenizer_.find(token.content);
    if (!id || !known_.insert(*id).second) return;
    token.id = *id;
    tokens_.push_back(std::move(token));
  }
  void add(const std::string& content) {
    if (!content.empty()) add(AddedToken{content});
  }
  bool has(std::int64_t id) const { return known_.count(id) != 0; }

  Json json() {
    std::sort(tokens_.begin(), tokens_.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
    Json list = Json::array();
    for (const auto& token : tokens_) list.push_back(added_token_json(token));
    return list;
  }

 private:
  const Tokenizer& tokenizer_;
  std::vector<AddedToken> tokens_;
  std::set<std::int64_t> known_;
};

/** `before`, the text, `behind`: ids of special tokens around it. */
Json template_processing(const Tokenizer& tokenizer, bool pair_has_types) {
  const auto around = tokenizer.encode("", /*add_special_tokens=*/true);
  const auto prefix = static_cast<std::size_t>(tokenizer.prefix_length());
  Json single = Json::array(), pair = Json::array(), tokens = Json::object();
  const auto special = [&](std::size_t i, int type) {
    const std::string token = tokenizer.token(around[i]);
    tokens[token] = {{"id", token}, {"ids", {around[i]}}, {"tokens", {token}}};
    return Json{{"SpecialToken", {{"id", token}, {"type_id", type}}}};
  };
  const auto text = [](const char* name, int type) { return Json{{"Sequence", {{"id", name}, {"type_id", type}}}}; };
  for (std::size_t i = 0; i < prefix; ++i) single.push_back(special(i, 0));
  single.push_back(text("A", 0));
  for (std::size_t i = prefix; i < around.size(); ++i) single.push_back(special(i, 0));
  const int second = pair_has_types ? 1 : 0;
  pair = single;
  pair.push_back(text("B", second));
  for (std::size_t i = prefix; i < around.size(); ++i) pair.push_back(special(i, second));
  return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", tokens}};
}

Json document(AddedList& added, Json model) {
  return {{"version", "1.0"},          {"truncation", nullptr},
          {"padding", nullptr},        {"added_tokens", added.json()},
          {"normalizer", nullptr},     {"pre_tokenizer", nullptr},
          {"post_processor", nullptr}, {"decoder", nullptr},
          {"model", std::move(model)}};
}

}  // namespace

Json added_token_json(const AddedToken& token) {
  return {{"id", token.id},          {"content", token.content}, {"single_word", token.single_word},
          {"lstrip", token.lstrip},  {"rstrip", token.rstrip},   {"normalized", token.normalized},
          {"special", token.special}};
}

Json wordpiece_json(const Tokenizer& tokenizer, const TokenizerFiles& files) {
  AddedList added(tokenizer);
  for (const char* token : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]"}) added.add(token);
  for (const auto& token : files.added_tokens) added.add(token.content);
  // What stands behind the file's last line is no piece.
  std::int64_t pieces = tokenizer.vocabulary_size();
  while (pieces > 0 && added.has(pieces - 1)) --pieces;
  Json vocabulary = Json::object();
  for (std::int64_t id = 0; id < pieces; ++id) vocabulary[tokenizer.token(id)] = id;
  Json root = document(added, {{"type", "WordPiece"},
                               {"unk_token", "[UNK]"},
                               {"continuing_subword_prefix", "##"},
                               {"max_input_chars_per_word", 100},
                               {"vocab", std::move(vocabulary)}});
  root["normalizer"] = {{"type", "BertNormalizer"},
                        {"clean_text", true},
                        {"handle_chinese_chars", true},
                        {"strip_accents", nullptr},
                        {"lowercase", files.do_lower_case.value_or(true)}};
  root["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
  root["post_processor"] = template_processing(tokenizer, /*pair_has_types=*/true);
  root["decoder"] = {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}};
  return root;
}

Json byte_bpe_json(const Tokenizer& tokenizer, const TokenizerFiles& files, const std::filesystem::path& folder) {
  AddedList added(tokenizer);
  for (const auto& token : files.added_tokens) added.add(token);
  for (const auto& [key, token] : files.names) added.add(token);
  for (const std::int64_t id : tokenizer.encode("", true)) added.add(tokenizer.token(id));
  const ByteBpeVocabulary vocabulary = read_byte_bpe(folder);
  Json merges = Json::array();
  for (const auto& [left, right] : vocabulary.merges) merges.push_back(left + " " + right);
  Json root = document(added, {{"type", "BPE"},
                               {"dropout", nullptr},
                               {"unk_token", nullptr},
                               {"continuing_subword_prefix", nullptr},
                               {"end_of_word_suffix", nullptr},
                               {"fuse_unk", false},
                               {"byte_fallback", false},
                               {"ignore_merges", false},
                               {"vocab", vocabulary.ids},
                               {"merges", std::move(merges)}});
  Json bytes = {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}};
  root["decoder"] = bytes;
  bytes["add_prefix_space"] = files.add_prefix_space.value_or(false);
  root["pre_tokenizer"] = std::move(bytes);
  root["post_processor"] = template_processing(tokenizer, /*pair_has_types=*/false);
  return root;
}

Json unigram_json(const Tokenizer& tokenizer, const TokenizerFiles& files, const std::filesystem::path& folder) {
  const UnigramFile file = read_unigram_file(folder / "spiece.model");
  AddedList added(tokenizer);
  for (const char* token : {"<pad>", "</s>", "<unk>"}) added.add(token);
  for (const auto& [key, token] : files.names) added.add(token);
  for (const auto& token : files.added_tokens) added.add(token);
  Json vocabulary = Json::array();
  for (const auto& [piece, score] : file.pieces) vocabulary.push_back({piece, score});
  Json root = document(
      added,
      {{"type", "Unigram"}, {"unk_id", file.unknown_id}, {"vocab", std::move(vocabulary)}, {"byte_fallback", false}});
  Json steps = Json::array();
  if (!file.charsmap.empty()) steps.push_back({{"type", "Precompiled"}, {"precompiled_charsmap", file.charsmap}});
  if (tokenizer.encode("a ").size() == tokenizer.encode("a").size()) {  // T5's own class drops spaces at the end
    steps.push_back({{"type", "Strip"}, {"strip_left", false}, {"strip_right", true}});
  }
  steps.push_back({{"type", "Replace"}, {"pattern", {{"Regex", " {2,}"}}}, {"content", " "}});
  root["normalizer"] = {{"type", "Sequence"}, {"normalizers", std::move(steps)}};
  const Json spaces = {
      {"type", "Metaspace"}, {"replacement", "\xe2\x96\x81"}, {"prepend_scheme", "always"}, {"split", true}};
  root["pre_tokenizer"] = spaces;
  root["decoder"] = spaces;
  root["post_processor"] = template_processing(tokenizer, /*pair_has_types=*/false);
  return root;
}

}  // namespace blip2
