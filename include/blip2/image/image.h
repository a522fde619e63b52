// Pictures in memory and how they are read: OpenCV and libjpeg decode, and the result is what Pillow's `convert("RGB")`
// gives, because that is what published models were trained on. Surprises: alpha is dropped and not composited, 16-bit
// grey is clipped at 255 and not scaled, 16-bit colour keeps the high byte, EXIF orientation is not applied.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace blip2 {

/** RGB picture, `pixels` row-major [height, width, 3]. */
struct Image {
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::vector<std::uint8_t> pixels;
};

/** RGB picture with alpha (0 transparent, not premultiplied), `pixels` row-major [height, width, 4]. */
struct ImageRgba {
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::vector<std::uint8_t> pixels;
};

/** Pictures with more pixels are refused before they are decoded (Pillow's limit for a "decompression bomb"). */
inline constexpr std::int64_t kMaxImagePixels = 178'956'970;

/**
 * Decodes JPEG, PNG, WebP, BMP or TIFF bytes to RGB as Pillow's `convert("RGB")` does; `name` stands in errors.
 * Throws UserError when the bytes are no picture of these kinds, damaged, cut short or describe too many pixels.
 * Source: Hugging Face spec, section 5.2, steps 1-2.
 */
Image decode_image(std::span<const std::uint8_t> bytes, const std::string& name);

/** Like decode_image but keeps alpha; 255 where the file has none. Throws UserError. */
ImageRgba decode_image_rgba(std::span<const std::uint8_t> bytes, const std::string& name);

/** Reads and decodes a picture file. Throws UserError like decode_image, and when the file cannot be opened. */
Image load_image(const std::filesystem::path& path);

/** Reads and decodes a picture file with its alpha. Throws UserError. */
ImageRgba load_image_rgba(const std::filesystem::path& path);

/** The picture as PNG bytes; `compression` 0 (large, fast) to 9. Throws TORCH_CHECK errors for an empty picture. */
std::vector<std::uint8_t> encode_png(const Image& image, int compression = 3);

/** Writes a PNG file beside `path` and renames it. Throws WorldError when the disk refuses. */
void save_png(const Image& image, const std::filesystem::path& path, int compression = 3);

}  // namespace blip2
