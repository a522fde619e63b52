#include "text/tokenizer_files.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "blip2/core/config.h"
#include "blip2/core/error.h"
#include "blip2/core/read_file.h"
#include "core/in_quotes.h"

namespace blip2 {
namespace {

using Json = nlohmann::json;

constexpr std::uint64_t kMaxFileBytes = 100'000'000;
constexpr std::int64_t kMaxIds = 1 << 24;
constexpr int kDeepestPart = 16;
constexpr const char* kTokenKeys[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                      "pad_token", "cls_token", "mask_token"};

/** One JSON file: its name for errors, its object. */
struct Source {
  std::string name;
  Json root;

  [[noreturn]] void refuse(const std::string& key, const std::string& expected) const {
    throw UserError("'" + name + "': " + in_quotes(key) + " must be " + expected);
  }
  /** Null where the key is missing or its value is null. */
  const Json* find(const char* key) const {
    const auto found = root.find(key);
    return found == root.end() || found->is_null() ? nullptr : &*found;
  }
  void read(const char* key, std::optional<bool>& target) const {
    const Json* found = find(key);
    if (found == nullptr) return;
    if (!found->is_boolean()) refuse(key, "true or false");
    target = found->get<bool>();
  }
  std::int64_t id(const std::string& key, const Json& value) const {
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() >= static_cast<std::uint64_t>(kMaxIds)) {
      refuse(key, "an id from 0 to " + std::to_string(kMaxIds - 1));
    }
    return value.get<std::int64_t>();
  }
  /** A token is a string, or an object with its content. */
  AddedToken token(const std::string& key, const Json& value) const {
    AddedToken token;
    const Json& content = value.is_object() && value.contains("content") ? value["content"] : value;
    if (!content.is_string()) refuse(key, "a token or an object with its content");
    token.content = content.get<std::string>();
    if (value.is_object() && value.contains("special") && value["special"].is_boolean())
      token.special = value["special"];
    return token;
  }
};

void append(std::vector<AddedToken>& tokens, AddedToken token) {
  const auto known = std::any_of(tokens.begin(), tokens.end(),
                                 [&](const AddedToken& other) { return other.content == token.content; });
  if (!known) tokens.push_back(std::move(token));
}

/** `"added_tokens_decoder": {"2": {"content": "</s>", ...}}`. */
void read_decoder(const Source& source, std::vector<AddedToken>& tokens) {
  const Json* found = source.find("added_tokens_decoder");
  if (found == nullptr) return;
  if (!found->is_object()) source.refuse("added_tokens_decoder", "an object from ids to tokens");
  for (const auto& [key, value] : found->items()) {
    AddedToken token = source.token("added_tokens_decoder." + key, value);
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), token.id);
    if (error != std::errc() || end != key.data() + key.size() || token.id < 0 || token.id >= kMaxIds) {
      source.refuse("added_tokens_decoder", "an object from ids to tokens, found the key " + in_quotes(key));
    }
    append(tokens, std::move(token));
  }
}

/** Whether a part of a tokenizer.json is, or holds, one of this type. */
bool holds_type(const Json& part, const char* type, int depth = 0) {
  if (depth > kDeepestPart) return false;
  if (part.is_object() && part.value("type", Json()) == type) return true;
  return part.is_structured() &&
         std::any_of(part.begin(), part.end(), [&](const Json& inner) { return holds_type(inner, type, depth + 1); });
}

void read_tokenizer_json(const Source& source, TokenizerFiles& files) {
  if (const Json* tokens = source.find("added_tokens")) {
    if (!tokens->is_array()) source.refuse("added_tokens", "a list");
    for (const auto& value : *tokens) {
      AddedToken token = source.token("added_tokens", value);
      token.id = source.id("added_tokens.id", value.is_object() ? value.value("id", Json()) : value);
      append(files.added_tokens, std::move(token));
    }
  }
  const Json* processor = source.find("post_processor");
  if (processor != nullptr && processor->is_object() && processor->contains("single")) {
    const Json& single = (*processor)["single"];
    files.add_bos_token =
        single.is_array() && !single.empty() && single[0].is_object() && single[0].contains("SpecialToken");
  }
  const Json* splitter = source.find("pre_tokenizer");
  const Json* normalizer = source.find("normalizer");
  files.trailing_space_is_token = splitter != nullptr && holds_type(*splitter, "Metaspace") &&
                                  !holds_type(*splitter, "WhitespaceSplit") &&
                                  (normalizer == nullptr || !holds_type(*normalizer, "Strip"));
}

void read_names(const Source& source, TokenizerFiles& files) {
  for (const char* key : kTokenKeys) {
    const auto found = source.root.find(key);
    if (found == source.root.end()) continue;
    files.names.emplace(key, found->is_null() ? "" : source.token(key, *found).content);
  }
}

void read_config(const Source& source, TokenizerFiles& files) {
  read_decoder(source, files.added_tokens);
  read_names(source, files);
  source.read("add_bos_token", files.add_bos_token);
  source.read("add_prefix_space", files.add_prefix_space);
  source.read("do_lower_case", files.do_lower_case);
  if (const Json* found = source.find("extra_ids")) files.extra_ids = source.id("extra_ids", *found);
}

void read_added_tokens(const Source& source, TokenizerFiles& files) {
  for (const auto& [content, id] : source.root.items()) {
    append(files.added_tokens, {content, source.id(content, id)});
  }
}

}  // namespace

std::string TokenizerFiles::name(const std::string& key, const std::string& otherwise) const {
  const auto found = names.find(key);
  return found == names.end() ? otherwise : found->second;
}

TokenizerFiles read_tokenizer_files(const std::filesystem::path& folder) {
  TokenizerFiles files;
  auto open = [&](const char* name, void (*read)(const Source&, TokenizerFiles&)) {
    const auto path = folder / name;
    std::error_code ignored;
    if (!std::filesystem::exists(path, ignored)) return;
    const auto bytes = read_file(path, kMaxFileBytes);
    const Source source{path.string(), load_json(path)};
    if (!source.root.is_object()) {
      throw UserError("'" + source.name + "' must hold a JSON object, found " + source.root.type_name());
    }
    read(source, files);
    files.companions[name] = std::string(bytes.begin(), bytes.end());
  };
  open("tokenizer.json", read_tokenizer_json);
  open("tokenizer_config.json", read_config);
  open("added_tokens.json", read_added_tokens);
  open("special_tokens_map.json", read_names);
  std::stable_sort(files.added_tokens.begin(), files.added_tokens.end(),
                   [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  return files;
}

}  // namespace blip2
