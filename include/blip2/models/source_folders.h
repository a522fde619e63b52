// The folders that a model is read from. A run names its frozen parts by their paths, so a program that writes a folder
// can destroy what the run needs without having been told of it.
#pragma once

#include <filesystem>
#include <vector>

#include "blip2/models/lora_adapter.h"

namespace blip2 {

/**
 * What loading the run or published model in `folder` reads: the folder, its checkpoint and tokenizer, and the same of
 * the frozen parts of a run, and of theirs. A folder that is gone has no parts. Throws UserError for a config.json that
 * is none.
 */
std::vector<std::filesystem::path> source_folders(const std::filesystem::path& folder);

/**
 * The files of these folders and of the adapters that a model or its training would miss: weights, configs, tokenizer,
 * the state that resuming needs, the log.
 */
std::vector<std::filesystem::path> source_files(const std::filesystem::path& folder, const LoraFolders& lora);

/**
 * Throws UserError where an AtomicFolder that replaces `target` would remove one of `model`'s source folders: where it
 * is one of them or holds one.
 */
void check_keeps_sources(const std::filesystem::path& target, const std::filesystem::path& model);

}  // namespace blip2
