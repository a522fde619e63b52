// 64-bit FNV-1a of pixels, as scripts/make_image_test_data.py writes it.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace blip2 {

inline std::string fingerprint(const std::vector<std::uint8_t>& pixels) {
  std::uint64_t value = 0xcbf29ce484222325ULL;
  for (const std::uint8_t byte : pixels) value = (value ^ byte) * 0x100000001b3ULL;
  char text[17];
  std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(value));
  return text;
}

}  // namespace blip2
