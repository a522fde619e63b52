// Cut-out pictures with alpha: trimming and area averaging. Averaging runs on colours multiplied by alpha.
#include <algorithm>

#include <c10/util/Exception.h>
#include <opencv2/imgproc.hpp>

#include "blip2/core/error.h"
#include "blip2/data/stamps.h"

namespace blip2 {
namespace {

constexpr std::uint8_t kVisible = 8;

std::uint8_t to_byte(float value) {
  return static_cast<std::uint8_t>(std::clamp(value, 0.0F, 255.0F) + 0.5F);
}

}  // namespace

ImageRgba trim_to_alpha(const ImageRgba& image) {
  std::int64_t top = image.height, bottom = 0, left = image.width, right = 0;
  for (std::int64_t y = 0; y < image.height; ++y) {
    for (std::int64_t x = 0; x < image.width; ++x) {
      if (image.pixels[static_cast<std::size_t>((y * image.width + x) * 4 + 3)] <= kVisible) continue;
      top = std::min(top, y), bottom = std::max(bottom, y + 1);
      left = std::min(left, x), right = std::max(right, x + 1);
    }
  }
  if (bottom == 0) return {};
  ImageRgba result{bottom - top, right - left, {}};
  for (std::int64_t y = top; y < bottom; ++y) {
    const auto row = image.pixels.begin() + y * image.width * 4;
    result.pixels.insert(result.pixels.end(), row + left * 4, row + right * 4);
  }
  return result;
}

ImageRgba resize_area(const ImageRgba& image, std::int64_t height, std::int64_t width) {
  TORCH_CHECK(image.height > 0 && image.width > 0 && height > 0 && width > 0, "resize_area: empty picture");
  cv::Mat source(static_cast<int>(image.height), static_cast<int>(image.width), CV_32FC4);
  auto* out = source.ptr<float>();
  for (std::size_t i = 0; i < image.pixels.size(); i += 4) {
    const auto alpha = static_cast<float>(image.pixels[i + 3]);
    for (std::size_t c = 0; c < 3; ++c) out[i + c] = static_cast<float>(image.pixels[i + c]) * alpha;
    out[i + 3] = alpha;
  }
  cv::Mat resized;
  const bool shrinks = height <= image.height && width <= image.width;
  cv::resize(source, resized, cv::Size(static_cast<int>(width), static_cast<int>(height)), 0, 0,
             shrinks ? cv::INTER_AREA : cv::INTER_LINEAR);
  ImageRgba result{height, width, std::vector<std::uint8_t>(static_cast<std::size_t>(height * width * 4))};
  const auto* in = resized.ptr<float>();
  for (std::size_t i = 0; i < result.pixels.size(); i += 4) {
    const float alpha = in[i + 3];
    for (std::size_t c = 0; c < 3; ++c) result.pixels[i + c] = alpha > 0 ? to_byte(in[i + c] / alpha) : 0;
    result.pixels[i + 3] = to_byte(alpha);
  }
  return result;
}

StampPicture load_stamp(const Stamp& stamp, std::int64_t longest_side) {
  ImageRgba image = trim_to_alpha(load_image_rgba(stamp.file));
  if (image.pixels.empty()) throw UserError("stamp '" + stamp.file.string() + "' is wholly transparent");
  const std::int64_t longest = std::max(image.height, image.width);
  if (longest > longest_side) {
    const auto shrink = [&](std::int64_t side) { return std::max<std::int64_t>(1, side * longest_side / longest); };
    image = resize_area(image, shrink(image.height), shrink(image.width));
  }
  return {stamp.caption, std::move(image)};
}

}  // namespace blip2
