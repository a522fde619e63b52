// Files that a user named, opened with one sentence for everything that may stand in the way; small ones whole, with a
// bound: sizes of files are hostile.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <vector>

namespace blip2 {

/**
 * A stream of the bytes of a regular file. Throws UserError that says why it cannot be opened: it is missing, a folder,
 * a pipe or device (which one would wait for), or not readable.
 */
std::ifstream open_file(const std::filesystem::path& path);

/** The bytes of a regular file of at most `limit` bytes. Throws UserError when it is none, unreadable or larger. */
std::vector<std::uint8_t> read_file(const std::filesystem::path& path, std::uint64_t limit);

}  // namespace blip2
