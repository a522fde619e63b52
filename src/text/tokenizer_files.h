// What the JSON files of a tokenizer's folder say beside its vocabulary: names and ids of special tokens, flags
// (Hugging Face 6.0). All of them may be missing. A tokenizer.json with a model is a tokenizer of its own
// (tokenizer_json.h); one without is read for what only it tells.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "blip2/text/added_tokens.h"

namespace blip2 {

struct TokenizerFiles {
  /** "bos_token" and the like with the token's content; empty where a file says null. */
  std::map<std::string, std::string> names;
  /** By rising id; each content once. */
  std::vector<AddedToken> added_tokens;
  std::optional<bool> add_bos_token, add_prefix_space, do_lower_case;
  std::optional<std::int64_t> extra_ids;
  bool trailing_space_is_token = false;
  /** tokenizer.json has a `model`. */
  bool has_model = false;
  /** The files that were read: name and bytes. */
  std::map<std::string, std::string> companions;

  std::string name(const std::string& key, const std::string& otherwise) const;
};

/** Throws UserError naming the file and the entry that is not what it must be. */
TokenizerFiles read_tokenizer_files(const std::filesystem::path& folder);

/** The object of that name in a tokenizer_config.json, by id; null for no tokens. */
nlohmann::ordered_json added_tokens_decoder(const std::vector<AddedToken>& tokens);

}  // namespace blip2
