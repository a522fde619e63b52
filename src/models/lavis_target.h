// Where a conversion may write: never over what it reads, and never over a checkpoint that somebody has.
#pragma once

#include <filesystem>
#include <vector>

namespace blip2 {

/**
 * Throws UserError where writing the folder `target` would replace or remove one of `sources`: it is one of them, holds
 * one, or is a folder that lies in one. Links are followed; empty paths are passed over.
 */
void check_apart(const std::filesystem::path& target, const std::vector<std::filesystem::path>& sources);

/** Throws UserError unless `file` is the name of a new file of torch.save, WorldError where its folder is missing. */
void check_new_checkpoint(const std::filesystem::path& file);

}  // namespace blip2
