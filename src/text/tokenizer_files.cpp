#include "text/tokenizer_files.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "blip2/core/config.h"
#include "blip2/core/error.h"
#include "blip2/core/read_file.h"
#include "core/in_quotes.h"
#include "text/token_ids.h"
#include "text/tokenizer_json/added_tokens_list.h"

namespace blip2 {
namespace {

using Json = nlohmann::json;

constexpr std::uint64_t kMaxFileBytes = 100'000'000;
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
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() >= static_cast<std::uint64_t>(kMaxTokenIds)) {
      refuse(key, "an id from 0 to " + std::to_string(kMaxTokenIds - 1));
    }
    return value.get<std::int64_t>();
  }
  /** A token is a string, or an object with its content. */
  AddedToken token(const std::string& key, const Json& value) const {
    AddedToken token;
    const Json& content = value.is_object() && value.contains("content") ? value["content"] : value;
    if (!content.is_string()) refuse(key, "a token or an object with its content");
    token.content = content.get<std::string>();
    auto read_flag = [&](const char* name, bool& target) {
      if (value.is_object() && value.contains(name) && value[name].is_boolean()) target = value[name];
    };
    read_flag("special", token.special);
    read_flag("normalized", token.normalized);
    read_flag("lstrip", token.lstrip);
    read_flag("rstrip", token.rstrip);
    read_flag("single_word", token.single_word);
    return token;
  }
};

/** What the files have said so far; of equal contents the first counts. */
struct Collected : TokenizerFiles {
  void add(AddedToken token) {
    if (known.insert(token.content).second) added_tokens.push_back(std::move(token));
  }
  std::unordered_set<std::string> known;
};

/** `"added_tokens_decoder": {"2": {"content": "</s>", ...}}`. */
void read_decoder(const Source& source, Collected& files) {
  const Json* found = source.find("added_tokens_decoder");
  if (found == nullptr) return;
  if (!found->is_object()) source.refuse("added_tokens_decoder", "an object from ids to tokens");
  for (const auto& [key, value] : found->items()) {
    AddedToken token = source.token("added_tokens_decoder." + key, value);
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), token.id);
    if (error != std::errc() || end != key.data() + key.size() || token.id < 0 || token.id >= kMaxTokenIds) {
      source.refuse("added_tokens_decoder", "an object from ids to tokens, found the key " + in_quotes(key));
    }
    files.add(std::move(token));
  }
}

/** Whether a part of a tokenizer.json is, or holds, one of this type. */
bool holds_type(const Json& part, const char* type, int depth = 0) {
  if (depth > kDeepestPart) return false;
  if (part.is_object() && part.value("type", Json()) == type) return true;
  return part.is_structured() &&
         std::any_of(part.begin(), part.end(), [&](const Json& inner) { return holds_type(inner, type, depth + 1); });
}

void read_tokenizer_json(const Source& source, Collected& files) {
  for (auto& token : read_added_token_list(JsonPlace(source.name, source.root))) files.add(std::move(token));
  files.has_model = source.find("model") != nullptr;
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

void read_names(const Source& source, Collected& files) {
  for (const char* key : kTokenKeys) {
    const auto found = source.root.find(key);
    if (found == source.root.end()) continue;
    files.names.emplace(key, found->is_null() ? "" : source.token(key, *found).content);
  }
}

void read_config(const Source& source, Collected& files) {
  read_decoder(source, files);
  read_names(source, files);
  source.read("add_bos_token", files.add_bos_token);
  source.read("add_prefix_space", files.add_prefix_space);
  source.read("do_lower_case", files.do_lower_case);
  if (const Json* found = source.find("extra_ids")) files.extra_ids = source.id("extra_ids", *found);
}

void read_added_tokens(const Source& source, Collected& files) {
  for (const auto& [content, id] : source.root.items()) {
    files.add({content, source.id(content, id)});
  }
}

}  // namespace

std::string TokenizerFiles::name(const std::string& key, const std::string& otherwise) const {
  const auto found = names.find(key);
  return found == names.end() ? otherwise : found->second;
}

TokenizerFiles read_tokenizer_files(const std::filesystem::path& folder) {
  Collected files;
  auto open = [&](const char* name, void (*read)(const Source&, Collected&)) {
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
  return files;  // without what only collecting needs
}

nlohmann::ordered_json added_tokens_decoder(const std::vector<AddedToken>& tokens) {
  nlohmann::ordered_json result;
  for (const auto& token : tokens) {
    result[std::to_string(token.id)] = {{"content", token.content},         {"lstrip", token.lstrip},
                                        {"normalized", token.normalized},   {"rstrip", token.rstrip},
                                        {"single_word", token.single_word}, {"special", token.special}};
  }
  return result;
}

}  // namespace blip2
