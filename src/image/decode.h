// The parts of decoding. JPEG goes through libjpeg itself: OpenCV would serve for most files, but it converts CMYK with
// another rounding than Pillow, does not tell that a file was cut short, and prints libjpeg's warnings.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "blip2/image/image.h"

namespace blip2 {

/**
 * Decodes a JPEG to RGB as Pillow does: accurate integer DCT, smooth chroma upsampling, CMYK taken as Adobe's inverted
 * kind. Throws UserError with `name` when it is damaged, cut short or larger than kMaxImagePixels.
 */
Image decode_jpeg(std::span<const std::uint8_t> bytes, const std::string& name);

}  // namespace blip2
