// The folder that a published model is written to takes the place of an older one, whole: only a folder that holds such
// a model and nothing besides may go.
#pragma once

#include <filesystem>
#include <string>

namespace blip2 {

/** Whether a published BLIP-2 folder may hold a file of this name: weights, config, processor, tokenizer. */
bool is_published_file(const std::string& name);

/**
 * Throws UserError unless a published model can be written to `folder`: it is missing, empty, or holds a BLIP-2 model
 * (or image encoder) and nothing that such a model is not made of, as a run or a user's notes. Throws WorldError where
 * the folder above is not writable.
 */
void check_published_target(const std::filesystem::path& folder);

}  // namespace blip2
