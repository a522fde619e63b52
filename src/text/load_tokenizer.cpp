#include "blip2/text/load_tokenizer.h"

#include <nlohmann/json.hpp>

#include "blip2/core/config.h"
#include "blip2/core/error.h"
#include "blip2/text/byte_bpe.h"
#include "blip2/text/sentencepiece.h"
#include "blip2/text/wordpiece.h"

namespace blip2 {
namespace {

nlohmann::json optional_json(const std::filesystem::path& file) {
  return std::filesystem::exists(file) ? load_json(file) : nlohmann::json::object();
}

/** A special token is a string, or in some files an object with its "content". */
std::string content(const nlohmann::json& config, const std::string& key, const std::string& otherwise) {
  const auto found = config.find(key);
  if (found == config.end()) return otherwise;
  if (found->is_string()) return found->get<std::string>();
  if (found->is_object() && found->contains("content") && (*found)["content"].is_string()) return (*found)["content"];
  return otherwise;
}

/** Tokens beside the vocabulary: content and id. */
std::map<std::string, std::int64_t> added_tokens(const std::filesystem::path& folder, const nlohmann::json& config) {
  std::map<std::string, std::int64_t> result;
  const nlohmann::json added = optional_json(folder / "added_tokens.json");
  for (const auto& [token, id] : added.items()) {
    if (id.is_number_integer()) result[token] = id.get<std::int64_t>();
  }
  const auto decoder = config.find("added_tokens_decoder");
  if (decoder == config.end() || !decoder->is_object()) return result;
  for (const auto& [id, token] : decoder->items()) {
    const bool numeric = !id.empty() && id.size() < 10 && id.find_first_not_of("0123456789") == std::string::npos;
    if (numeric && token.is_object()) result[content(nlohmann::json{{"t", token}}, "t", "")] = std::stoll(id);
  }
  result.erase("");
  return result;
}

std::unique_ptr<Tokenizer> load_byte_bpe(const std::filesystem::path& folder) {
  ByteBpeVocabulary vocabulary = read_byte_bpe(folder);
  const nlohmann::json config = optional_json(folder / "tokenizer_config.json");
  ByteBpeOptions options;
  options.special_tokens = added_tokens(folder, config);
  const std::string beginning = content(config, "bos_token", "</s>");
  const auto adds = config.find("add_bos_token");
  const bool wanted = adds == config.end() || !adds->is_boolean() || adds->get<bool>();
  const bool known = vocabulary.ids.count(beginning) != 0 || options.special_tokens.count(beginning) != 0;
  options.beginning = wanted && known ? beginning : "";
  options.padding = content(config, "pad_token", "<pad>");
  for (const auto& token : {beginning, options.padding, content(config, "eos_token", "</s>")}) {
    const auto found = vocabulary.ids.find(token);
    if (found != vocabulary.ids.end()) options.special_tokens.emplace(token, found->second);
  }
  return std::make_unique<ByteBpeTokenizer>(std::move(vocabulary), options, folder.string());
}

}  // namespace

std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& folder) {
  auto has = [&](const char* name) { return std::filesystem::exists(folder / name); };
  if (has("vocab.txt")) return std::make_unique<WordPieceTokenizer>(folder / "vocab.txt");
  if (has("vocab.json") && has("merges.txt")) return load_byte_bpe(folder);
  if (has("spiece.model")) {
    const nlohmann::json config = optional_json(folder / "tokenizer_config.json");
    return std::make_unique<T5Tokenizer>(folder / "spiece.model", added_tokens(folder, config));
  }
  throw UserError("no tokenizer in '" + folder.string() +
                  "': looked for vocab.txt (WordPiece), vocab.json with merges.txt (OPT) and spiece.model (T5)");
}

}  // namespace blip2
