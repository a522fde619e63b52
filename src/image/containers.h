// What lies around the pixels of a PNG, WebP, BMP or TIFF, looked at before OpenCV is given the file: it would believe
// every size, print the complaints of the libraries below it, and decode some kinds otherwise than Pillow does.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace blip2 {

/** A file that OpenCV may decode. */
struct Container {
  const char* kind;                     // "PNG"...
  std::vector<std::uint8_t> rewritten;  // instead of the file, where that holds more than the picture
  std::span<const std::uint8_t> bytes;  // of either
};

/**
 * Looks at size, completeness and kind of colours. A PNG is reduced to what decides its pixels, an animated WebP to its
 * first frame. Throws UserError with `name` for a file that is damaged, too large, of another format, or whose colours
 * OpenCV converts in another way than Pillow (TIFF with alpha, CMYK, YCbCr, CIELAB).
 */
Container open_container(std::span<const std::uint8_t> bytes, const std::string& name);

/** Throws UserError when a picture of this size is too large or empty. */
void check_image_size(std::int64_t height, std::int64_t width, const std::string& name);

}  // namespace blip2
