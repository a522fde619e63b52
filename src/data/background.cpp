#include "data/background.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include <c10/util/Exception.h>
#include <opencv2/imgproc.hpp>

namespace blip2 {
namespace {

using Color = std::array<double, 3>;

// Any hue, little saturation, neither black nor white.
Color muted_color(Random& random) {
  const double hue = random.uniform(0, 6), saturation = random.uniform(0.05, 0.35), value = random.uniform(110, 235);
  Color color;
  for (std::size_t c = 0; c < 3; ++c) {
    const double distance = std::abs(std::fmod(hue - 2.0 * static_cast<double>(c) + 9.0, 6.0) - 3.0);
    color[c] = value * (1 - saturation * std::clamp(distance - 1.0, 0.0, 1.0));
  }
  return color;
}

// The same colour a little lighter or darker.
Color shaded(Color color, Random& random) {
  const double amount = random.uniform(12, 35) * (random.coin(0.5) ? 1 : -1);
  for (auto& channel : color) channel += amount;
  return color;
}

template <typename Share>
Image mix(std::int64_t size, const Color& first, const Color& second, Share share) {
  Image image{size, size, {}};
  image.pixels.reserve(static_cast<std::size_t>(size * size * 3));
  for (std::int64_t y = 0; y < size; ++y) {
    for (std::int64_t x = 0; x < size; ++x) {
      const double part =
          share(static_cast<double>(x) / static_cast<double>(size), static_cast<double>(y) / static_cast<double>(size));
      for (std::size_t c = 0; c < 3; ++c) {
        const double value = first[c] + part * (second[c] - first[c]);
        image.pixels.push_back(static_cast<std::uint8_t>(std::clamp(value, 0.0, 255.0) + 0.5));
      }
    }
  }
  return image;
}

Image soft_noise(std::int64_t size, const Color& first, const Color& second, Random& random) {
  const auto cells = static_cast<int>(4 + random.below(6));
  cv::Mat coarse(cells, cells, CV_32F), fine;
  for (int i = 0; i < cells * cells; ++i) coarse.ptr<float>()[i] = static_cast<float>(random.uniform());
  cv::resize(coarse, fine, cv::Size(static_cast<int>(size), static_cast<int>(size)), 0, 0, cv::INTER_CUBIC);
  const auto scale = static_cast<double>(size);
  return mix(size, first, second, [&](double x, double y) {
    return static_cast<double>(
        fine.at<float>(static_cast<int>(std::lround(y * scale)), static_cast<int>(std::lround(x * scale))));
  });
}

}  // namespace

const std::vector<std::string>& background_kinds() {
  static const std::vector<std::string> kinds = {"plain", "gradient", "stripes", "checks", "noise"};
  return kinds;
}

Image make_background(const std::string& kind, std::int64_t size, Random& random) {
  const Color first = muted_color(random);
  const Color second = shaded(first, random);
  const double angle = random.uniform(0, 2 * std::numbers::pi);
  const double across = std::cos(angle), along = std::sin(angle);
  const double period = random.uniform(0.12, 0.3);
  if (kind == "plain") return mix(size, first, first, [](double, double) { return 0.0; });
  if (kind == "gradient") {
    return mix(size, first, second, [&](double x, double y) { return 0.5 + (x - 0.5) * across + (y - 0.5) * along; });
  }
  if (kind == "stripes") {
    return mix(size, first, second, [&](double x, double y) {
      return 0.5 + 0.5 * std::sin((x * across + y * along) * 2 * std::numbers::pi / period);
    });
  }
  if (kind == "checks") {
    return mix(size, first, second, [&](double x, double y) {
      return static_cast<double>((static_cast<int>(x / period) + static_cast<int>(y / period)) % 2);
    });
  }
  TORCH_CHECK(kind == "noise", "make_background: unknown kind '", kind, "'");
  return soft_noise(size, first, second, random);
}

}  // namespace blip2
