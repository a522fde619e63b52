// Pairs of name patterns: `#` stands for a number, `*` at the end for the rest of the name; both have the same ones.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

namespace blip2 {

/** `name` spelt after `to` where it fits `from`: "blocks.#.norm1.*" to "layers.#.layer_norm1.*". */
inline std::optional<std::string> renamed(std::string_view from, std::string_view to, std::string_view name) {
  std::string_view number, rest;
  while (!from.empty()) {
    if (from == "*") {
      if (name.empty()) return std::nullopt;
      rest = name;
      name = {};
    } else if (from.front() == '#') {
      const std::size_t digits = std::min(name.find_first_not_of("0123456789"), name.size());
      if (digits == 0) return std::nullopt;
      number = name.substr(0, digits);
      name.remove_prefix(digits);
    } else {
      if (name.empty() || name.front() != from.front()) return std::nullopt;
      name.remove_prefix(1);
    }
    from.remove_prefix(1);
  }
  if (!name.empty()) return std::nullopt;
  std::string result;
  for (const char c : to) {
    if (c == '#') {
      result += number;
    } else if (c == '*') {
      result += rest;
    } else {
      result += c;
    }
  }
  return result;
}

}  // namespace blip2
