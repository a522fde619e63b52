// Whole files in and out. A file is written beside its place and renamed, so that a reader, or a run that was cut off,
// never meets half of one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

namespace blip2 {

/** The bytes of a file of at most `limit` bytes. Throws UserError when it is missing, unreadable or larger. */
std::vector<std::uint8_t> read_file(const std::filesystem::path& path, std::uint64_t limit);

/** Writes `content` to `PATH.partial` and renames it to `path`. Throws WorldError when either step fails. */
void write_file_atomically(const std::filesystem::path& path, std::string_view content);

}  // namespace blip2
