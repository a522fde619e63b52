// A name from a file inside a sentence: one line whatever the name holds (control characters escaped, length bounded).
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace blip2 {

inline std::string in_quotes(std::string_view name) {
  constexpr std::size_t kLongest = 120;
  const bool cut = name.size() > kLongest;
  using Json = nlohmann::json;
  const std::string text =
      Json(std::string(name.substr(0, kLongest))).dump(-1, ' ', false, Json::error_handler_t::replace);
  return "'" + text.substr(1, text.size() - 2) + (cut ? "..." : "") + "'";
}

}  // namespace blip2
