// A picture whose every value tells where it stands.
#pragma once

#include "blip2/image/image.h"

namespace blip2 {

inline Image numbered(std::int64_t height, std::int64_t width) {
  Image image{height, width, {}};
  for (std::int64_t i = 0; i < height * width * 3; ++i) image.pixels.push_back(static_cast<std::uint8_t>(i * 7 % 251));
  return image;
}

}  // namespace blip2
