#include "text/token_ids.h"

#include <nlohmann/json.hpp>

#include "blip2/core/error.h"
#include "core/in_quotes.h"

namespace blip2 {

std::map<std::string, std::int64_t> read_token_ids(const nlohmann::json& ids, const std::string& place) {
  if (!ids.is_object()) {
    throw UserError(place + " must hold a JSON object from tokens to ids, found " + ids.type_name());
  }
  if (ids.empty()) throw UserError(place + " holds no tokens");
  std::map<std::string, std::int64_t> result;
  for (const auto& [token, id] : ids.items()) {
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= static_cast<std::uint64_t>(kMaxTokenIds)) {
      throw UserError(place + ": the id of token " + in_quotes(token) + " must be an integer from 0 to " +
                      std::to_string(kMaxTokenIds - 1) + ", found " +
                      in_quotes(id.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)));
    }
    result.emplace_hint(result.end(), token, id.get<std::int64_t>());
  }
  return result;
}

std::vector<std::string> tokens_by_id(const std::map<std::string, std::int64_t>& ids, const std::string& source) {
  auto refuse = [&](const std::string& what) { throw UserError("'" + source + "': " + what); };
  std::vector<std::string> tokens(ids.size());
  std::vector<bool> used(ids.size(), false);
  for (const auto& [token, id] : ids) {
    if (id < 0 || id >= static_cast<std::int64_t>(ids.size())) {
      refuse("token " + in_quotes(token) + " has the id " + std::to_string(id) + ", expected the ids 0 to " +
             std::to_string(ids.size() - 1) + " without gaps");
    }
    const auto place = static_cast<std::size_t>(id);
    if (used[place]) {
      refuse("the tokens " + in_quotes(tokens[place]) + " and " + in_quotes(token) + " have the same id " +
             std::to_string(id));
    }
    used[place] = true;
    tokens[place] = token;
  }
  return tokens;
}

}  // namespace blip2
