#include "image/warp.h"

#include <cmath>
#include <numbers>
#include <vector>

namespace blip2 {
namespace {

constexpr int kFill = 128;
constexpr int kGridBits = 5;         // of the place between two pixels
constexpr int kCoordinateBits = 10;  // of each summand of a coordinate, before the sum is rounded to the grid
constexpr std::int64_t kGrid = 1 << kGridBits;

/** The terms in OpenCV's order: their last bits can decide a rounding. */
AffineMap inverse(const AffineMap& map) {
  const double scale = 1.0 / (map.x_from_x * map.y_from_y - map.x_from_y * map.y_from_x);
  AffineMap result{map.y_from_y * scale, -map.x_from_y * scale, 0, -map.y_from_x * scale, map.x_from_x * scale, 0};
  result.x_shift = -result.x_from_x * map.x_shift - result.x_from_y * map.y_shift;
  result.y_shift = -result.y_from_x * map.x_shift - result.y_from_y * map.y_shift;
  return result;
}

std::int64_t fixed_point(double coordinate) {
  return std::llrint(coordinate * (1 << kCoordinateBits));
}

/** What a column (or a row) adds to the coordinates in the source. */
struct Step {
  std::int64_t x = 0, y = 0;
};

/** Writes the three values at x, y, which count 1/32 of a pixel. */
void interpolate(const Image& image, std::int64_t x, std::int64_t y, std::uint8_t* out) {
  const std::int64_t left = x >> kGridBits, top = y >> kGridBits;
  const auto right_share = static_cast<int>(x & (kGrid - 1)), lower_share = static_cast<int>(y & (kGrid - 1));
  constexpr int kHalf = 1 << (2 * kGridBits - 1);
  int sums[3] = {kHalf, kHalf, kHalf};
  for (const int row : {0, 1}) {
    for (const int column : {0, 1}) {
      const int weight = (column ? right_share : kGrid - right_share) * (row ? lower_share : kGrid - lower_share);
      const std::int64_t at_y = top + row, at_x = left + column;
      const bool inside = at_y >= 0 && at_y < image.height && at_x >= 0 && at_x < image.width;
      const std::uint8_t* at = inside ? image.pixels.data() + (at_y * image.width + at_x) * 3 : nullptr;
      for (int channel = 0; channel < 3; ++channel) sums[channel] += weight * (inside ? at[channel] : kFill);
    }
  }
  for (const int sum : sums) *out++ = static_cast<std::uint8_t>(sum >> 2 * kGridBits);
}

}  // namespace

AffineMap rotation(double center_x, double center_y, double degrees) {
  const double angle = degrees * std::numbers::pi / 180;
  const double cosine = std::cos(angle), sine = std::sin(angle);
  return {cosine, sine,   (1 - cosine) * center_x - sine * center_y,
          -sine,  cosine, sine * center_x + (1 - cosine) * center_y};
}

Image warp(const Image& image, const AffineMap& map) {
  const AffineMap source = inverse(map);
  std::vector<Step> columns;
  for (std::int64_t x = 0; x < image.width; ++x) {
    const auto position = static_cast<double>(x);
    columns.push_back({fixed_point(source.x_from_x * position), fixed_point(source.y_from_x * position)});
  }
  constexpr int kExtraBits = kCoordinateBits - kGridBits;
  constexpr std::int64_t kHalf = 1 << (kExtraBits - 1);
  Image result{image.height, image.width, std::vector<std::uint8_t>(image.pixels.size())};
  std::uint8_t* out = result.pixels.data();
  for (std::int64_t y = 0; y < image.height; ++y) {
    const auto position = static_cast<double>(y);
    const Step row{fixed_point(source.x_from_y * position + source.x_shift) + kHalf,
                   fixed_point(source.y_from_y * position + source.y_shift) + kHalf};
    for (const Step& column : columns) {
      interpolate(image, (row.x + column.x) >> kExtraBits, (row.y + column.y) >> kExtraBits, out);
      out += 3;
    }
  }
  return result;
}

}  // namespace blip2
