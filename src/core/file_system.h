// What atomic files and atomic folders share: the sentence for a failed write and the flush of a folder.
#pragma once

#include <filesystem>
#include <string>

namespace blip2 {

/** Throws WorldError "cannot write 'PATH': reason" for an errno value. */
[[noreturn]] void throw_write_error(const std::filesystem::path& path, int error_number);

/** Makes the names in a folder survive a power cut; "" is the working folder. Best effort: some file systems refuse. */
void flush_folder_to_disk(const std::filesystem::path& folder);

}  // namespace blip2
