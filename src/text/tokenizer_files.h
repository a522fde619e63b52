// What the JSON files beside a vocabulary say: names and ids of special tokens, flags (Hugging Face 6.0). All of them
// may be missing. tokenizer.json is read for what only it tells; its vocabulary is that of the other files.
#pragma once

#include <filesystem>
#include <map>
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
  /** The files that were read: name and bytes. */
  std::map<std::string, std::string> companions;

  std::string name(const std::string& key, const std::string& otherwise) const;
};

/** Throws UserError naming the file and the entry that is not what it must be. */
TokenizerFiles read_tokenizer_files(const std::filesystem::path& folder);

}  // namespace blip2
