// The ten operations of RandAugment on bytes (LAVIS spec, sections 6 and 16.1). Colours are table look-ups or small
// integer sums whose rounding is Pillow's; image/warp.h does the rest.
#include <algorithm>
#include <array>

#include <c10/util/Exception.h>

#include "blip2/image/rand_augment.h"
#include "image/warp.h"

namespace blip2 {
namespace {

using Histogram = std::array<std::int64_t, 256>;
using Table = std::array<std::uint8_t, 256>;

std::uint8_t truncated(double value) {
  return static_cast<std::uint8_t>(std::clamp(value, 0.0, 255.0));
}

Table identity_table() {
  Table table;
  for (std::size_t i = 0; i < table.size(); ++i) table[i] = static_cast<std::uint8_t>(i);
  return table;
}

int lowest(const Histogram& histogram) {
  return static_cast<int>(std::find_if(histogram.begin(), histogram.end(), [](auto n) { return n > 0; }) -
                          histogram.begin());
}

int highest(const Histogram& histogram) {
  return 255 - static_cast<int>(std::find_if(histogram.rbegin(), histogram.rend(), [](auto n) { return n > 0; }) -
                                histogram.rbegin());
}

Table auto_contrast_table(const Histogram& histogram, bool lavis_overflow) {
  const int low = lowest(histogram), high = highest(histogram);
  if (low == high) return identity_table();
  const double scale = 255.0 / (high - low);
  // LAVIS negates the lowest value as the unsigned byte that it is.
  const double offset = (lavis_overflow ? (256 - low) % 256 : -low) * scale;
  Table table;
  for (std::size_t i = 0; i < table.size(); ++i) table[i] = truncated(static_cast<double>(i) * scale + offset);
  return table;
}

/** As many pixels to each of 255 steps as whole values allow, the highest value's not counted. */
Table equalize_table(const Histogram& histogram) {
  std::int64_t counted = -histogram[static_cast<std::size_t>(highest(histogram))];
  for (const std::int64_t pixels : histogram) counted += pixels;
  const std::int64_t step = counted / 255;
  if (step == 0) return identity_table();
  Table table;
  std::int64_t below = step / 2;
  for (std::size_t i = 0; i < table.size(); ++i) {
    table[i] = static_cast<std::uint8_t>(std::min<std::int64_t>(below / step, 255));
    below += histogram[i];
  }
  return table;
}

Table brightness_table(float factor) {
  Table table;
  for (std::size_t i = 0; i < table.size(); ++i) table[i] = truncated(static_cast<float>(i) * factor);
  return table;
}

/** Replaces each channel's values by those of the table that `make_table` gives for its histogram. */
template <typename MakeTable>
Image look_up(Image image, MakeTable make_table) {
  for (std::size_t channel = 0; channel < 3; ++channel) {
    Histogram histogram{};
    for (std::size_t i = channel; i < image.pixels.size(); i += 3) ++histogram[image.pixels[i]];
    const Table table = make_table(histogram);
    for (std::size_t i = channel; i < image.pixels.size(); i += 3) image.pixels[i] = table[image.pixels[i]];
  }
  return image;
}

/** Moves every value away from the mean of its surroundings, in which its own counts five times; the rim stays. */
Image sharpen(const Image& image, float factor, bool lavis_overflow) {
  Image result = image;
  const std::int64_t stride = image.width * 3;
  for (std::int64_t y = 1; y + 1 < image.height; ++y) {
    for (std::int64_t i = y * stride + 3; i < (y + 1) * stride - 3; ++i) {
      const std::uint8_t* at = image.pixels.data() + i;
      int sum = 4 * at[0];
      for (const std::uint8_t* row : {at - stride, at, at + stride}) sum += row[-3] + row[0] + row[3];
      const int smooth = (2 * sum + 13) / 26;  // sum / 13 to the nearest; there are no ties
      // The product is rounded before the sum, so that no compiler makes one fused operation of the two.
      const auto detail = static_cast<float>(static_cast<double>(factor) * (at[0] - smooth));
      const float sharp = static_cast<float>(smooth) + detail;
      result.pixels[static_cast<std::size_t>(i)] =
          lavis_overflow ? static_cast<std::uint8_t>(static_cast<int>(sharp)) : truncated(sharp);
    }
  }
  return result;
}

/** `map` with the precision that LAVIS keeps it in. */
Image warp_float(const Image& image, AffineMap map) {
  for (double* number : {&map.x_from_y, &map.y_from_x, &map.x_shift, &map.y_shift}) {
    *number = static_cast<float>(*number);
  }
  return warp(image, map);
}

}  // namespace

bool has_sign(AugmentOperation operation) {
  return operation >= AugmentOperation::kShearX;
}

double augment_argument(const Augmentation& augmentation) {
  TORCH_CHECK(augmentation.level >= 0 && augmentation.level <= kMaxAugmentLevel, "augment: expected a level from 0 to ",
              kMaxAugmentLevel, ", found ", augmentation.level);
  const double share = static_cast<double>(augmentation.level) / static_cast<double>(kMaxAugmentLevel);
  const double sign = augmentation.negative ? -1 : 1;
  switch (augmentation.operation) {
    case AugmentOperation::kBrightness:
    case AugmentOperation::kSharpness:
      return share * 1.8 + 0.1;
    case AugmentOperation::kShearX:
    case AugmentOperation::kShearY:
      return sign * (share * 0.3);
    case AugmentOperation::kTranslateX:
    case AugmentOperation::kTranslateY:
      return sign * (share * 10);
    case AugmentOperation::kRotate:
      return sign * (share * 30);
    default:
      return 0;
  }
}

Image augment(const Image& image, const Augmentation& augmentation, bool lavis_overflow) {
  TORCH_CHECK(image.height > 0 && image.width > 0 &&
                  image.pixels.size() == static_cast<std::size_t>(image.height * image.width * 3),
              "augment: expected [", image.height, ", ", image.width, ", 3] pixels, found ", image.pixels.size());
  const double argument = augment_argument(augmentation);
  const auto factor = static_cast<float>(argument);
  switch (augmentation.operation) {
    case AugmentOperation::kIdentity:
      return image;
    case AugmentOperation::kAutoContrast:
      return look_up(image, [&](const Histogram& values) { return auto_contrast_table(values, lavis_overflow); });
    case AugmentOperation::kBrightness:
      return look_up(image, [&](const Histogram&) { return brightness_table(factor); });
    case AugmentOperation::kSharpness:
      return sharpen(image, factor, lavis_overflow);
    case AugmentOperation::kEqualize:
      return look_up(image, equalize_table);
    case AugmentOperation::kShearX:
      return warp_float(image, {.x_from_y = argument});
    case AugmentOperation::kShearY:
      return warp_float(image, {.y_from_x = argument});
    case AugmentOperation::kTranslateX:
      return warp_float(image, {.x_shift = -argument});
    case AugmentOperation::kTranslateY:
      return warp_float(image, {.y_shift = -argument});
    case AugmentOperation::kRotate:
      return warp(image,
                  rotation(static_cast<double>(image.width) / 2, static_cast<double>(image.height) / 2, argument));
  }
  TORCH_CHECK(false, "augment: no operation has the number ", static_cast<int>(augmentation.operation));
}

}  // namespace blip2
