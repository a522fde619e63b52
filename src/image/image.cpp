#include "blip2/image/image.h"

#include <algorithm>

#include <c10/util/Exception.h>
#include <opencv2/core.hpp>
#include <opencv2/core/utils/logger.hpp>
#include <opencv2/imgcodecs.hpp>

#include "blip2/core/atomic_file.h"
#include "blip2/core/error.h"
#include "blip2/core/read_file.h"
#include "image/containers.h"
#include "image/decode.h"

namespace blip2 {
namespace {

constexpr std::uint64_t kMaxFileBytes = std::uint64_t{1} << 30;

using Bytes = std::span<const std::uint8_t>;

bool is_jpeg(Bytes bytes) {
  return bytes.size() >= 3 && bytes[0] == 0xff && bytes[1] == 0xd8 && bytes[2] == 0xff;
}

cv::Mat decode_with_opencv(Bytes bytes, const std::string& name) {
  static const bool silenced = [] {
    cv::utils::logging::setLogLevel(cv::utils::logging::LOG_LEVEL_SILENT);
    return true;
  }();
  (void)silenced;
  const Container container = open_container(bytes, name);
  cv::Mat decoded;
  try {
    const Bytes file = container.bytes;
    const cv::Mat input(1, static_cast<int>(file.size()), CV_8UC1, const_cast<std::uint8_t*>(file.data()));
    // "Unchanged" keeps 16 bits and alpha and ignores the EXIF orientation.
    decoded = cv::imdecode(input, cv::IMREAD_UNCHANGED);
  } catch (const cv::Exception&) {
    decoded.release();
  }
  if (decoded.empty()) throw UserError("'" + name + "' is a damaged " + container.kind);
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
