// Where a program is going to write, looked at before the work that may take hours: what it cannot be told is told at
// once, and what it would destroy is not written over.
#pragma once

#include <filesystem>
#include <vector>

namespace blip2 {

/**
 * Throws UserError where no file can have this name (it is empty, ends in a slash, a folder has it, a file stands where
 * a folder above it would be) or where it is one of the files in `read`, also by way of links; WorldError where the
 * nearest folder above that exists is not writable. Folders above may be missing; nothing is created.
 */
void check_output_file(const std::filesystem::path& file, const std::vector<std::filesystem::path>& read);

/** The same for a folder to create or to replace: a file has its name, it cannot be created. */
void check_output_folder(const std::filesystem::path& folder);

/**
 * Creates the missing folders above `target`, then removes what dead writers left beside it (NAME.partial-*): what no
 * living process has locked. Throws WorldError where a folder cannot be created.
 */
void prepare_output(const std::filesystem::path& target);

}  // namespace blip2
