// Backgrounds of scenes: muted colours, so that objects stand out, and textures, so that a background is no constant.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "blip2/core/random.h"
#include "blip2/image/image.h"

namespace blip2 {

/** Names of the kinds that make_background knows. */
const std::vector<std::string>& background_kinds();

/** A square background of `kind`, one of background_kinds(). */
Image make_background(const std::string& kind, std::int64_t size, Random& random);

}  // namespace blip2
