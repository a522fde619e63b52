// Whole small files in one go, with a bound: sizes of files are hostile.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace blip2 {

/** The bytes of a regular file of at most `limit` bytes. Throws UserError when it is none, unreadable or larger. */
std::vector<std::uint8_t> read_file(const std::filesystem::path& path, std::uint64_t limit);

}  // namespace blip2
