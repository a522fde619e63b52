#include "blip2/image/transforms.h"

#include <algorithm>
#include <cmath>
#include <string>

#include <c10/util/Exception.h>

#include "blip2/core/error.h"

namespace blip2 {
namespace {

std::array<double, 2> pair(const std::vector<double>& values) {
  return {values[0], values[1]};
}

void require(bool condition, const char* field, const char* expected) {
  if (!condition) throw UserError(std::string("image transform: '") + field + "' must be " + expected);
}

std::vector<float> resize_and_normalize(const Image& image, const ImageTransformOptions& options) {
  return normalize(resize_bicubic(image, options.image_size, options.image_size), options.mean, options.std);
}

}  // namespace

void visit_fields(FieldVisitor& visitor, ImageTransformOptions& options) {
  visitor.field("image_size", options.image_size);
  visitor.field("crop_scale", options.crop_scale);
  visitor.field("crop_ratio", options.crop_ratio);
  visitor.field("horizontal_flip", options.horizontal_flip);
  visitor.field("rand_augment", options.rand_augment);
  visitor.nested("augmentation", options.augmentation);
  visitor.field("mean", options.mean);
  visitor.field("std", options.std);
}

void validate(const ImageTransformOptions& options) {
  const auto positive_range = [](const std::vector<double>& range) {
    return range.size() == 2 && range[0] > 0 && range[0] <= range[1] && std::isfinite(range[1]);
  };
  require(options.image_size >= 1 && options.image_size <= 8192, "image_size", "from 1 to 8192");
  require(positive_range(options.crop_scale) && options.crop_scale[1] <= 1, "crop_scale",
          "two ascending numbers above 0 and at most 1");
  require(positive_range(options.crop_ratio), "crop_ratio", "two ascending numbers above 0");
  require(options.horizontal_flip >= 0 && options.horizontal_flip <= 1, "horizontal_flip", "a probability");
  validate(options.augmentation);
  require(options.mean.size() == 3, "mean", "three numbers");
  require(
      options.std.size() == 3 && std::all_of(options.std.begin(), options.std.end(), [](double v) { return v > 0; }),
      "std", "three numbers above 0");
}

Image crop(const Image& image, const CropBox& box) {
  TORCH_CHECK(box.top >= 0 && box.left >= 0 && box.height > 0 && box.width > 0 &&
                  box.height <= image.height - box.top && box.width <= image.width - box.left,
              "crop: the box ", box.width, " x ", box.height, " at ", box.left, ", ", box.top, " is not inside ",
              image.width, " x ", image.height);
  Image result{box.height, box.width, {}};
  result.pixels.reserve(static_cast<std::size_t>(box.height * box.width * 3));
  for (std::int64_t y = box.top; y < box.top + box.height; ++y) {
    const auto first = image.pixels.begin() + (y * image.width + box.left) * 3;
    result.pixels.insert(result.pixels.end(), first, first + box.width * 3);
  }
  return result;
}

Image flip_horizontal(const Image& image) {
  Image result = image;
  for (std::int64_t y = 0; y < image.height; ++y) {
    std::uint8_t* row = result.pixels.data() + y * image.width * 3;
    for (std::int64_t x = 0; x < image.width / 2; ++x) {
      std::swap_ranges(row + x * 3, row + x * 3 + 3, row + (image.width - 1 - x) * 3);
    }
  }
  return result;
}

CropBox random_resized_crop_box(std::int64_t height, std::int64_t width, std::array<double, 2> scale,
                                std::array<double, 2> ratio, Random& random) {
  constexpr int kAttempts = 10;
  const auto area = static_cast<double>(height * width);
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const double target = area * random.uniform(scale[0], scale[1]);
    const double aspect = std::exp(random.uniform(std::log(ratio[0]), std::log(ratio[1])));
    const auto box_width = static_cast<std::int64_t>(std::nearbyint(std::sqrt(target * aspect)));
    const auto box_height = static_cast<std::int64_t>(std::nearbyint(std::sqrt(target / aspect)));
    if (box_width < 1 || box_width > width || box_height < 1 || box_height > height) continue;
    const std::int64_t top = random.below(height - box_height + 1);
    const std::int64_t left = random.below(width - box_width + 1);
    return {top, left, box_height, box_width};
  }
  // The whole picture, narrowed at its centre where its own ratio is out of range. A side never rounds to nothing.
  const double own = static_cast<double>(width) / static_cast<double>(height);
  CropBox box{0, 0, height, width};
  if (own < ratio[0]) {
    const double exact = static_cast<double>(width) / ratio[0];
    box.height = std::clamp<std::int64_t>(static_cast<std::int64_t>(std::nearbyint(exact)), 1, height);
  } else if (own > ratio[1]) {
    const double exact = static_cast<double>(height) * ratio[1];
    box.width = std::clamp<std::int64_t>(static_cast<std::int64_t>(std::nearbyint(exact)), 1, width);
  }
  box.top = (height - box.height) / 2;
  box.left = (width - box.width) / 2;
  return box;
}

std::vector<float> normalize(const Image& image, const std::vector<double>& mean, const std::vector<double>& std) {
  TORCH_CHECK(mean.size() == 3 && std.size() == 3, "normalize: expected three means and deviations, found ",
              mean.size(), " and ", std.size());
  const auto pixels = static_cast<std::size_t>(image.height * image.width);
  std::vector<float> values(pixels * 3);
  for (std::size_t channel = 0; channel < 3; ++channel) {
    std::array<float, 256> table;
    for (std::size_t level = 0; level < table.size(); ++level) {
      const auto rescaled = static_cast<float>(static_cast<double>(level) * (1.0 / 255.0));
      table[level] = (rescaled - static_cast<float>(mean[channel])) / static_cast<float>(std[channel]);
    }
    float* out = values.data() + channel * pixels;
    for (std::size_t i = 0; i < pixels; ++i) out[i] = table[image.pixels[i * 3 + channel]];
  }
  return values;
}

std::vector<float> evaluation_transform(const Image& image, const ImageTransformOptions& options) {
  validate(options);
  return resize_and_normalize(image, options);
}

std::vector<float> training_transform(const Image& image, const ImageTransformOptions& options, Random& random) {
  validate(options);
  const CropBox box =
      random_resized_crop_box(image.height, image.width, pair(options.crop_scale), pair(options.crop_ratio), random);
  Image result = resize_bicubic(crop(image, box), options.image_size, options.image_size);
  if (random.coin(options.horizontal_flip)) result = flip_horizontal(result);
  if (options.rand_augment) result = rand_augment(result, options.augmentation, random);
  return normalize(result, options.mean, options.std);
}

}  // namespace blip2
