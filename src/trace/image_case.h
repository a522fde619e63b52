// A reference case of pictures: files to decode, to resize, to crop as in training, and to turn into pixel values.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

#include "blip2/checkpoint/safetensors.h"

namespace blip2 {

/**
 * The pictures in `folder`/files: `FILE` uint8 [h, w, 3] for all that can be read, and whatever the names in
 * expected.safetensors ask for: `FILE.SIZE` uint8 [SIZE, SIZE, 3], `FILE.crop.N`, `FILE.pixel_values` float32 [3, S, S]
 * with half the smaller of the sizes that `asked` (expected.json) names, `FILE.pixel_values_torchvision`.
 *
 * Where a name is there once more with `.horizontal_first`, Pillow 13 went the other way, and the plain name stands for
 * its result. Returned is what each file turned out to be: its size, or the sentence with which it was refused.
 */
nlohmann::json run_images(const std::filesystem::path& folder, const nlohmann::json& asked, NamedTensors& trace);

}  // namespace blip2
