// What reading JSON from a file that anyone may have written has to mind: parsing it takes any depth, but copying,
// comparing and printing recurse; and a number may be too large (1e999), which is no parse error to the library.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace blip2 {

inline constexpr int kDeepestJson = 100;
inline constexpr const char* kTooDeep = "nested more than 100 levels deep";

/** For a parser callback: whether an array or object begins below kDeepestJson others. */
inline bool is_too_deep(int depth, nlohmann::json::parse_event_t event) {
  using Event = nlohmann::json::parse_event_t;
  return depth >= kDeepestJson && (event == Event::object_start || event == Event::array_start);
}

/** What an exception of the library says, in one line and without its number. */
inline std::string reason_of(const nlohmann::json::exception& error) {
  std::string text = error.what();  // "[json.exception.parse_error.101] parse error at line 1, column 2: ..."
  if (const auto end = text.find("] "); text.starts_with('[') && end != std::string::npos) text.erase(0, end + 2);
  for (auto& letter : text) letter = letter == '\n' ? ' ' : letter;
  return text;
}

}  // namespace blip2
