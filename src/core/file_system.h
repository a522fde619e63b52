// What is shared by all who write files: the sentence for a failed write, and flushes to the disk.
#pragma once

#include <filesystem>
#include <string>

namespace blip2 {

/** Throws WorldError "cannot write 'PATH': reason" for an errno value. */
[[noreturn]] void throw_write_error(const std::filesystem::path& path, int error_number);

/** Makes the names in a folder survive a power cut; "" is the working folder. Best effort: some file systems refuse. */
void flush_folder_to_disk(const std::filesystem::path& folder);

/**
 * Makes all that was written to the file system of a folder survive a power cut: for many small files, which would take
 * minutes one by one. Throws WorldError when the disk refuses.
 */
void flush_file_system_to_disk(const std::filesystem::path& folder);

}  // namespace blip2
