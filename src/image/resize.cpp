// Pillow's two-pass resampling in fixed point (Hugging Face spec 5.2, "Pillow's resampling"). Each pass writes bytes,
// so the intermediate picture is rounded; that rounding is part of the result.
#include <algorithm>
#include <cmath>
#include <cstring>

#include <c10/util/Exception.h>

#include "blip2/image/transforms.h"

namespace blip2 {
namespace {

constexpr int kFractionBits = 22;  // 32 - 8 bits of a pixel - 2 bits of head room
constexpr double kSupport = 2.0;

// Keys' cubic with a = -1/2.
double cubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

/** For each output position the first input position, and `taps` weights padded with zeros. */
struct Kernel {
  std::int64_t taps = 0;
  std::vector<std::int64_t> first;
  std::vector<std::int64_t> count;
  std::vector<std::int32_t> weights;
};

Kernel make_kernel(std::int64_t input, std::int64_t output) {
  const double scale = static_cast<double>(input) / static_cast<double>(output);
  const double filter_scale = std::max(scale, 1.0);
  const double support = kSupport * filter_scale;
  const double inverse = 1.0 / filter_scale;
  Kernel kernel;
  kernel.taps = static_cast<std::int64_t>(std::ceil(support)) * 2 + 1;
  kernel.weights.assign(static_cast<std::size_t>(output * kernel.taps), 0);
  std::vector<double> exact(static_cast<std::size_t>(kernel.taps));
  for (std::int64_t i = 0; i < output; ++i) {
    const double center = (static_cast<double>(i) + 0.5) * scale;
    const auto first = std::max<std::int64_t>(0, static_cast<std::int64_t>(center - support + 0.5));
    const auto last = std::min<std::int64_t>(input, static_cast<std::int64_t>(center + support + 0.5));
    const std::int64_t count = last - first;
    double sum = 0;
    for (std::int64_t k = 0; k < count; ++k) {
      exact[static_cast<std::size_t>(k)] = cubic((static_cast<double>(k + first) - center + 0.5) * inverse);
      sum += exact[static_cast<std::size_t>(k)];
    }
    for (std::int64_t k = 0; k < count; ++k) {
      double weight = exact[static_cast<std::size_t>(k)];
      if (sum != 0.0) weight /= sum;
      const double scaled = weight * (1 << kFractionBits);
      kernel.weights[static_cast<std::size_t>(i * kernel.taps + k)] =
          static_cast<std::int32_t>(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
    }
    kernel.first.push_back(first);
    kernel.count.push_back(count);
  }
  return kernel;
}

std::uint8_t to_byte(std::int32_t sum) {
  return static_cast<std::uint8_t>(std::clamp(sum >> kFractionBits, 0, 255));
}

Image resize_horizontally(const Image& image, std::int64_t width) {
  const Kernel kernel = make_kernel(image.width, width);
  Image result{image.height, width, std::vector<std::uint8_t>(static_cast<std::size_t>(image.height * width * 3))};
  std::uint8_t* out = result.pixels.data();
  for (std::int64_t y = 0; y < image.height; ++y) {
    const std::uint8_t* row = image.pixels.data() + y * image.width * 3;
    for (std::int64_t x = 0; x < width; ++x, out += 3) {
      const std::uint8_t* in = row + kernel.first[static_cast<std::size_t>(x)] * 3;
      const std::int32_t* weights = kernel.weights.data() + x * kernel.taps;
      std::int32_t red = 1 << (kFractionBits - 1), green = red, blue = red;
      for (std::int64_t k = 0; k < kernel.count[static_cast<std::size_t>(x)]; ++k, in += 3) {
        red += in[0] * weights[k];
        green += in[1] * weights[k];
        blue += in[2] * weights[k];
      }
      out[0] = to_byte(red);
      out[1] = to_byte(green);
      out[2] = to_byte(blue);
    }
  }
  return result;
}

Image resize_vertically(const Image& image, std::int64_t height) {
  const Kernel kernel = make_kernel(image.height, height);
  const std::int64_t stride = image.width * 3;
  Image result{height, image.width, std::vector<std::uint8_t>(static_cast<std::size_t>(height * stride))};
  std::vector<std::int32_t> sums(static_cast<std::size_t>(stride));
  for (std::int64_t y = 0; y < height; ++y) {
    std::fill(sums.begin(), sums.end(), 1 << (kFractionBits - 1));
    const std::int64_t first = kernel.first[static_cast<std::size_t>(y)];
    for (std::int64_t k = 0; k < kernel.count[static_cast<std::size_t>(y)]; ++k) {
      const std::uint8_t* in = image.pixels.data() + (first + k) * stride;
      const std::int32_t weight = kernel.weights[static_cast<std::size_t>(y * kernel.taps + k)];
      for (std::int64_t i = 0; i < stride; ++i) sums[static_cast<std::size_t>(i)] += in[i] * weight;
    }
    std::transform(sums.begin(), sums.end(), result.pixels.begin() + y * stride, to_byte);
  }
  return result;
}

}  // namespace

Image resize_bicubic(const Image& image, std::int64_t height, std::int64_t width) {
  TORCH_CHECK(image.height > 0 && image.width > 0 &&
                  image.pixels.size() == static_cast<std::size_t>(image.height * image.width * 3),
              "resize_bicubic: expected [", image.height, ", ", image.width, ", 3] pixels, found ",
              image.pixels.size());
  TORCH_CHECK(height > 0 && width > 0 && height <= kMaxImagePixels / width, "resize_bicubic: cannot make ", width,
              " x ", height, " pixels");
  if (width == image.width) return height == image.height ? image : resize_vertically(image, height);
  Image result = resize_horizontally(image, width);
  return height == image.height ? result : resize_vertically(result, height);
}

}  // namespace blip2
