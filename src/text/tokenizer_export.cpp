#include "blip2/text/tokenizer_export.h"

#include <algorithm>
#include <set>

#include "blip2/core/atomic_file.h"
#include "blip2/core/config.h"
#include "blip2/core/error.h"
#include "blip2/text/byte_bpe.h"
#include "text/tokenizer_files.h"
#include "text/tokenizer_json/from_vocabulary.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

/** The vocabulary files that a tokenizer saves, as long as they are needed. */
class SavedFiles {
 public:
  SavedFiles(const Tokenizer& tokenizer, const fs::path& folder) : path_(folder / "vocabulary.partial") {
    fs::create_directories(path_);
    tokenizer.save(path_);
  }
  ~SavedFiles() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  SavedFiles(const SavedFiles&) = delete;
  SavedFiles& operator=(const SavedFiles&) = delete;

  const fs::path& path() const { return path_; }
  bool has(const char* name) const { return fs::exists(path_ / name); }

 private:
  fs::path path_;
};

Json describe(const Tokenizer& tokenizer, const TokenizerFiles& files, const SavedFiles& saved) {
  if (files.has_model) return load_json(saved.path() / "tokenizer.json");
  if (saved.has("vocab.txt")) return wordpiece_json(tokenizer, files);
  if (saved.has("vocab.json")) return byte_bpe_json(tokenizer, files, saved.path());
  return unigram_json(tokenizer, files, saved.path());
}

/** Tokens that the model or the list of added tokens has. */
std::set<std::string> tokens_in(const Json& root) {
  std::set<std::string> tokens;
  const Json& vocabulary = root.at("model").at("vocab");
  if (vocabulary.is_object()) {
    for (const auto& [token, id] : vocabulary.items()) tokens.insert(token);
  } else {
    for (const Json& entry : vocabulary) tokens.insert(entry.at(0).get<std::string>());
  }
  for (const Json& entry : root.at("added_tokens")) tokens.insert(entry.at("content").get<std::string>());
  return tokens;
}

/** Ids that only the files beside a tokenizer.json have, or that loading added ("[DEC]"). */
void add_missing_tokens(Json& root, const Tokenizer& tokenizer, const TokenizerFiles& files) {
  if (!root.contains("added_tokens") || root["added_tokens"].is_null()) root["added_tokens"] = Json::array();
  const std::set<std::string> known = tokens_in(root);
  for (std::int64_t id = 0; id < tokenizer.vocabulary_size(); ++id) {
    AddedToken token{tokenizer.token(id), id};
    if (known.count(token.content) != 0) continue;
    for (const auto& listed : files.added_tokens) {
      if (listed.content == token.content) token = listed;
    }
    token.id = id;
    root["added_tokens"].push_back(added_token_json(token));
  }
}

/** A byte-level BPE makes "<unk>" of no text, unless its files list it among the tokens that texts are cut at. */
std::optional<std::int64_t> unreachable_token(const Tokenizer& tokenizer) {
  if (dynamic_cast<const ByteBpeTokenizer*>(&tokenizer) == nullptr) return std::nullopt;
  const auto id = tokenizer.find("<unk>");
  if (!id) return std::nullopt;
  const auto reached = tokenizer.encode("<unk>", /*add_special_tokens=*/false);
  return std::find(reached.begin(), reached.end(), *id) == reached.end() ? id : std::nullopt;
}

void check_image_token(const Tokenizer& tokenizer, std::int64_t id) {
  const auto own = tokenizer.find(kImageToken);
  if (own ? id == *own : id == tokenizer.vocabulary_size() || id == unreachable_token(tokenizer)) return;
  throw UserError("the model's image_token_index is " + std::to_string(id) + ", expected " +
                  (own ? std::to_string(*own) + ", where its tokenizer has '" + kImageToken + "'"
                       : std::to_string(tokenizer.vocabulary_size()) + ", the first id behind its tokenizer's"));
}

void add_image_token(Json& root, const Tokenizer& tokenizer, std::int64_t id) {
  if (tokenizer.find(kImageToken) == id) return;
  Json& added = root["added_tokens"];
  if (tokenizer.has_token(id)) {  // a token that no text reaches gives its place
    const std::string former = tokenizer.token(id);
    root["model"]["vocab"].erase(former);
    root["model"]["vocab"][kImageToken] = id;
    const auto is_former = [&](const Json& entry) { return entry.at("content") == former; };
    added.erase(std::remove_if(added.begin(), added.end(), is_former), added.end());
  }
  added.push_back(added_token_json({kImageToken, id}));
}

/** Python numbers what the model's vocabulary lacks in the order of the list. */
void sort_added_tokens(Json& root) {
  Json& added = root["added_tokens"];
  std::stable_sort(added.begin(), added.end(), [](const Json& a, const Json& b) { return a.at("id") < b.at("id"); });
}

/** "bos_token" and the like with the tokens that have these parts; Python adds a token that is named and not there. */
Json token_names(const Json& root, const TokenizerFiles& files) {
  const std::set<std::string> known = tokens_in(root);
  Json names = Json::object();
  for (const auto& [key, token] : files.names) {
    if (known.count(token) != 0) names[key] = token;
  }
  const auto otherwise = [&](const char* key, const char* token) {
    if (!names.contains(key) && files.names.count(key) == 0 && known.count(token) != 0) names[key] = token;
  };
  const Json type = root.at("model").value("type", Json());
  if (type == "WordPiece") {
    otherwise("bos_token", "[DEC]");
    otherwise("cls_token", "[CLS]");
    otherwise("mask_token", "[MASK]");
    otherwise("pad_token", "[PAD]");
    otherwise("sep_token", "[SEP]");
    otherwise("unk_token", "[UNK]");
  } else {
    otherwise("eos_token", "</s>");
    otherwise("pad_token", "<pad>");
    if (type == "BPE") otherwise("bos_token", "</s>");
    otherwise("unk_token", type == "BPE" ? "</s>" : "<unk>");
  }
  return names;
}

Json make_config(const Json& names, const TokenizerFiles& files, bool is_bpe, const SavedFiles& saved,
                 const TokenizerExport& options) {
  Json config = saved.has("tokenizer_config.json") ? load_json(saved.path() / "tokenizer_config.json") : Json::object();
  // Where the files once lay, and what tokenizer.json says; rebuilding classes are not wanted.
  for (const char* key : {"added_tokens_decoder", "auto_map", "backend", "name_or_path", "special_tokens_map_file",
                          "tokenizer_file", "vocab_file", "merges_file"}) {
    config.erase(key);
  }
  for (const auto& [key, token] : files.names) {
    if (!token.empty()) config.erase(key);
  }
  config.update(names);
  config["tokenizer_class"] = "PreTrainedTokenizerFast";
  config["processor_class"] = "Blip2Processor";
  config["padding_side"] = options.padding_side == PaddingSide::kLeft ? "left" : "right";
  const auto otherwise = [&](const char* key, const Json& value) {
    if (!config.contains(key) || config[key].is_null()) config[key] = value;
  };
  otherwise("clean_up_tokenization_spaces", false);
  // Published OPT folders say otherwise, which transformers 5 ignores with a warning.
  if (is_bpe) config["clean_up_tokenization_spaces"] = false;
  otherwise("model_input_names", {"input_ids", "attention_mask"});
  return config;
}

std::string text_of(const Json& root) {
  return root.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

std::int64_t image_token_id(const Tokenizer& tokenizer, std::int64_t rows) {
  const auto own = tokenizer.find(kImageToken);
  if (own && *own < rows) return *own;
  if (!own && tokenizer.vocabulary_size() < rows) return tokenizer.vocabulary_size();
  const auto unreachable = unreachable_token(tokenizer);
  if (!own && unreachable) return *unreachable;
  throw UserError("no room for '" + kImageToken + "', the placeholder of a picture: the language model has " +
                  std::to_string(rows) + " rows in its token table and the tokenizer needs " +
                  std::to_string(tokenizer.vocabulary_size() + (own ? 0 : 1)) +
                  ": use a language model whose vocab_size is larger");
}

void export_tokenizer(const Tokenizer& tokenizer, const fs::path& folder, const TokenizerExport& options) {
  if (options.image_token) check_image_token(tokenizer, *options.image_token);
  const SavedFiles saved(tokenizer, folder);
  const TokenizerFiles files = read_tokenizer_files(saved.path());
  Json root = describe(tokenizer, files, saved);
  add_missing_tokens(root, tokenizer, files);
  if (options.image_token) add_image_token(root, tokenizer, *options.image_token);
  sort_added_tokens(root);
  const Json names = token_names(root, files);
  write_file_atomically(folder / "tokenizer.json", text_of(root));
  const bool is_bpe = root.at("model").value("type", Json()) == "BPE";
  write_file_atomically(folder / "tokenizer_config.json", text_of(make_config(names, files, is_bpe, saved, options)));
  write_file_atomically(folder / "special_tokens_map.json", text_of(names));
}

}  // namespace blip2
