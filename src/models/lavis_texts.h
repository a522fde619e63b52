// The small files of a converted folder: tokenizer, image processor, how answers are generated.
#pragma once

#include <cstdint>
#include <filesystem>

#include "blip2/models/lavis_checkpoint.h"

namespace blip2 {

/**
 * The one folder that the converted model's tokenizer comes from: the tokenizer's own, the language model's, or that of
 * the folder `like` the result, in this order. Throws UserError where none is named.
 */
std::filesystem::path tokenizer_source(const LavisSources& sources);

/**
 * Copies the tokenizer's files from `tokenizer`; writes the image processor, which is that of `like` but for the size
 * of the pictures, or LAVIS's; copies what else `like` has, which may be empty. Throws UserError for a JSON file that
 * is not what it must be.
 */
void write_texts(const std::filesystem::path& tokenizer, const std::filesystem::path& like, std::int64_t image_size,
                 const std::filesystem::path& folder);

}  // namespace blip2
