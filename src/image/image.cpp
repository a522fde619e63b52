#include "blip2/image/image.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include <c10/util/Exception.h>
#include <opencv2/core.hpp>
#include <opencv2/core/utils/logger.hpp>
#include <opencv2/imgcodecs.hpp>

#include "blip2/core/atomic_file.h"
#include "blip2/core/error.h"
#include "blip2/core/read_file.h"
#include "image/decode.h"

namespace blip2 {
namespace {

constexpr std::uint64_t kMaxFileBytes = std::uint64_t{1} << 30;

using Bytes = std::span<const std::uint8_t>;

bool has(Bytes bytes, std::size_t offset, std::string_view text) {
  return bytes.size() >= offset + text.size() && std::memcmp(bytes.data() + offset, text.data(), text.size()) == 0;
}
bool is_jpeg(Bytes bytes) {
  return has(bytes, 0, "\xff\xd8\xff");
}
bool is_png(Bytes bytes) {
  return has(bytes, 0, "\x89PNG\r\n\x1a\n");
}
bool is_webp(Bytes bytes) {
  return has(bytes, 0, "RIFF") && has(bytes, 8, "WEBP");
}
bool is_bmp(Bytes bytes) {
  return has(bytes, 0, "BM");
}
bool is_tiff(Bytes bytes) {
  return has(bytes, 0, {"II*\0", 4}) || has(bytes, 0, {"MM\0*", 4});
}

std::int64_t big_endian(Bytes bytes, std::size_t offset, std::size_t count = 4) {
  std::int64_t value = 0;
  for (std::size_t i = 0; i < count; ++i) value = value << 8 | bytes[offset + i];
  return value;
}
std::int64_t little_endian(Bytes bytes, std::size_t offset, std::size_t count) {
  std::int64_t value = 0;
  for (std::size_t i = count; i-- > 0;) value = value << 8 | bytes[offset + i];
  return value;
}

// OpenCV would decode first and libpng would print its complaint, so size and completeness are looked at beforehand.
void check_png(Bytes bytes, const std::string& name) {
  const UserError cut_short("'" + name + "' is a PNG that was cut short or is damaged: its chunks do not reach IEND");
  if (!has(bytes, 12, "IHDR") || bytes.size() < 24) throw cut_short;
  check_image_size(big_endian(bytes, 20), big_endian(bytes, 16), name);
  std::size_t offset = 8;
  while (bytes.size() - offset >= 12) {
    const auto length = static_cast<std::size_t>(big_endian(bytes, offset));
    if (length > bytes.size() - offset - 12) break;
    if (has(bytes, offset + 4, "IEND")) return;
    offset += length + 12;
  }
  throw cut_short;
}

// RIFF length and picture size of the three kinds of first chunk.
void check_webp(Bytes bytes, const std::string& name) {
  if (bytes.size() < 30 || little_endian(bytes, 4, 4) + 8 > static_cast<std::int64_t>(bytes.size())) {
    throw UserError("'" + name + "' is a WebP that was cut short");
  }
  if (has(bytes, 12, "VP8X")) {
    check_image_size(little_endian(bytes, 27, 3) + 1, little_endian(bytes, 24, 3) + 1, name);
  } else if (has(bytes, 12, "VP8L")) {
    const std::int64_t sizes = little_endian(bytes, 21, 4);
    check_image_size((sizes >> 14 & 0x3fff) + 1, (sizes & 0x3fff) + 1, name);
  } else {
    check_image_size(little_endian(bytes, 28, 2) & 0x3fff, little_endian(bytes, 26, 2) & 0x3fff, name);
  }
}

// A negative height says that the rows stand from above; OS/2's header, of 12 bytes, has short sizes.
void check_bmp(Bytes bytes, const std::string& name) {
  if (bytes.size() < 26) throw UserError("'" + name + "' is a BMP that was cut short");
  const bool is_short = little_endian(bytes, 14, 4) == 12;
  const auto width = static_cast<std::int32_t>(little_endian(bytes, 18, is_short ? 2 : 4));
  const auto height = static_cast<std::int32_t>(little_endian(bytes, is_short ? 20 : 22, is_short ? 2 : 4));
  check_image_size(std::abs(std::int64_t{height}), width, name);
}

// Width and height are entries of the first directory, wherever in the file that lies.
void check_tiff(Bytes bytes, const std::string& name) {
  const UserError cut_short("'" + name +
                            "' is a TIFF that was cut short or is damaged: its first directory is not whole");
  const bool is_little = has(bytes, 0, "II");
  const auto number = [&](std::size_t offset, std::size_t count) {
    if (offset > bytes.size() || bytes.size() - offset < count) throw cut_short;
    return is_little ? little_endian(bytes, offset, count) : big_endian(bytes, offset, count);
  };
  constexpr std::int64_t kWidth = 256, kHeight = 257, kShort = 3;
  std::int64_t width = 0, height = 0;
  const auto directory = static_cast<std::size_t>(number(4, 4));
  const std::int64_t entries = number(directory, 2);
  for (std::int64_t i = 0; i < entries; ++i) {
    const std::size_t entry = directory + 2 + static_cast<std::size_t>(i) * 12;
    const std::int64_t tag = number(entry, 2);
    if (tag != kWidth && tag != kHeight) continue;
    (tag == kWidth ? width : height) = number(entry + 8, number(entry + 2, 2) == kShort ? 2 : 4);
  }
  check_image_size(height, width, name);
}

cv::Mat decode_with_opencv(Bytes bytes, const std::string& name) {
  static const bool silenced = [] {
    cv::utils::logging::setLogLevel(cv::utils::logging::LOG_LEVEL_SILENT);
    return true;
  }();
  (void)silenced;
  const char* kind = nullptr;
  if (is_png(bytes)) {
    kind = "PNG";
    check_png(bytes, name);
  } else if (is_webp(bytes)) {
    kind = "WebP";
    check_webp(bytes, name);
  } else if (is_bmp(bytes)) {
    kind = "BMP";
    check_bmp(bytes, name);
  } else if (is_tiff(bytes)) {
    kind = "TIFF";
    check_tiff(bytes, name);
  } else {  // OpenCV may know it, but nobody has compared what it gives with Pillow
    throw UserError("'" + name + "' is not a picture that can be read (JPEG, PNG, WebP, BMP or TIFF)");
  }
  cv::Mat decoded;
  try {
    const cv::Mat input(1, static_cast<int>(bytes.size()), CV_8UC1, const_cast<std::uint8_t*>(bytes.data()));
    // "Unchanged" keeps 16 bits and alpha and ignores the EXIF orientation.
    if (!bytes.empty()) decoded = cv::imdecode(input, cv::IMREAD_UNCHANGED);
  } catch (const cv::Exception&) {
    decoded.release();
  }
  if (decoded.empty()) throw UserError("'" + name + "' is a damaged " + kind);
  check_image_size(decoded.rows, decoded.cols, name);
  const int depth = decoded.depth(), channels = decoded.channels();
  if ((depth != CV_8U && depth != CV_16U) || (channels != 1 && channels != 3 && channels != 4)) {
    throw UserError("'" + name + "' has pixels of an unusual kind; 8 or 16 bits in 1, 3 or 4 channels are read");
  }
  return decoded;
}

// Pillow clips 16-bit grey and keeps the high byte of 16-bit colour.
std::uint8_t to_byte(std::uint8_t value, int) {
  return value;
}
std::uint8_t to_byte(std::uint16_t value, int channels) {
  return static_cast<std::uint8_t>(channels == 1 ? std::min<int>(value, 255) : value >> 8);
}

template <typename Picture, std::size_t kChannels, typename Value>
Picture from_bgr(const cv::Mat& decoded) {
  const int channels = decoded.channels();
  Picture picture{decoded.rows, decoded.cols, {}};
  picture.pixels.resize(decoded.total() * kChannels);
  std::uint8_t* out = picture.pixels.data();
  for (int y = 0; y < decoded.rows; ++y) {
    const auto* row = decoded.ptr<Value>(y);
    for (int x = 0; x < decoded.cols; ++x, row += channels, out += kChannels) {
      for (int c = 0; c < 3; ++c) out[c] = to_byte(row[channels == 1 ? 0 : 2 - c], channels);
      if constexpr (kChannels == 4) out[3] = channels == 4 ? to_byte(row[3], channels) : 255;
    }
  }
  return picture;
}

template <typename Picture, std::size_t kChannels>
Picture from_opencv(Bytes bytes, const std::string& name) {
  const cv::Mat decoded = decode_with_opencv(bytes, name);
  return decoded.depth() == CV_8U ? from_bgr<Picture, kChannels, std::uint8_t>(decoded)
                                  : from_bgr<Picture, kChannels, std::uint16_t>(decoded);
}

}  // namespace

void check_image_size(std::int64_t height, std::int64_t width, const std::string& name) {
  if (height < 1 || width < 1 || height > kMaxImagePixels / width) {
    throw UserError("'" + name + "' claims to be " + std::to_string(width) + " x " + std::to_string(height) +
                    " pixels; pictures of 1 to " + std::to_string(kMaxImagePixels) + " pixels are read");
  }
}

Image decode_image(Bytes bytes, const std::string& name) {
  return is_jpeg(bytes) ? decode_jpeg(bytes, name) : from_opencv<Image, 3>(bytes, name);
}

ImageRgba decode_image_rgba(Bytes bytes, const std::string& name) {
  if (!is_jpeg(bytes)) return from_opencv<ImageRgba, 4>(bytes, name);
  const Image image = decode_jpeg(bytes, name);
  ImageRgba result{image.height, image.width, std::vector<std::uint8_t>(image.pixels.size() / 3 * 4, 255)};
  for (std::size_t i = 0; i < image.pixels.size() / 3; ++i) {
    std::copy_n(image.pixels.begin() + static_cast<std::ptrdiff_t>(3 * i), 3,
                result.pixels.begin() + static_cast<std::ptrdiff_t>(4 * i));
  }
  return result;
}

Image load_image(const std::filesystem::path& path) {
  return decode_image(read_file(path, kMaxFileBytes), path.string());
}

ImageRgba load_image_rgba(const std::filesystem::path& path) {
  return decode_image_rgba(read_file(path, kMaxFileBytes), path.string());
}

std::vector<std::uint8_t> encode_png(const Image& image, int compression) {
  TORCH_CHECK(image.height > 0 && image.width > 0 &&
                  image.pixels.size() == static_cast<std::size_t>(image.height * image.width * 3),
              "encode_png: expected [", image.height, ", ", image.width, ", 3] pixels, found ", image.pixels.size());
  cv::Mat bgr(static_cast<int>(image.height), static_cast<int>(image.width), CV_8UC3);
  for (std::size_t i = 0; i < image.pixels.size(); i += 3) {
    for (std::size_t c = 0; c < 3; ++c) bgr.data[i + c] = image.pixels[i + 2 - c];
  }
  std::vector<std::uint8_t> bytes;
  TORCH_CHECK(cv::imencode(".png", bgr, bytes, {cv::IMWRITE_PNG_COMPRESSION, compression}),
              "encode_png: OpenCV failed");
  return bytes;
}

void save_png(const Image& image, const std::filesystem::path& path, int compression) {
  const auto bytes = encode_png(image, compression);
  write_file_atomically(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

}  // namespace blip2
