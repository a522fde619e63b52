// The header of a safetensors file as checked structs; knows nothing of files, so that it can be tested on strings.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "blip2/checkpoint/safetensors.h"

namespace blip2 {

/** The reference's limit. */
inline constexpr std::uint64_t kLargestSafetensorsHeader = 100'000'000;

struct SafetensorsHeader {
  std::vector<TensorInfo> tensors;  // in the order of the data
  std::map<std::string, std::string> metadata;
};

/** Reads and checks the JSON text over a buffer of `buffer_size` bytes. Throws UserError; `file` names it there. */
SafetensorsHeader parse_safetensors_header(std::string_view text, std::uint64_t buffer_size, const std::string& file);

}  // namespace blip2
