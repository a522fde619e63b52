// Tokens and their ids as vocabulary files hold them: read from a JSON object, and turned round into a table.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace blip2 {

/** Ids lie below this bound, whatever a file says. */
inline constexpr std::int64_t kMaxTokenIds = 1 << 24;

/** The object `{"token": id, ...}`. Throws UserError that begins with `place`, the file or a part of it. */
std::map<std::string, std::int64_t> read_token_ids(const nlohmann::json& ids, const std::string& place);

/** Tokens in order of their ids. Throws UserError naming `source` unless the ids are 0, 1, ... and each there once. */
std::vector<std::string> tokens_by_id(const std::map<std::string, std::int64_t>& ids, const std::string& source);

}  // namespace blip2
