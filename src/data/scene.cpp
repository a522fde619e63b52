#include "blip2/data/scene.h"

#include <algorithm>
#include <cmath>

#include <c10/util/Exception.h>

#include "blip2/core/error.h"
#include "data/background.h"

namespace blip2 {
namespace {

// Two stamps may hide this share of the picture's width from each other.
constexpr double kOverlap = 0.05;

void require(bool condition, const char* field, const std::string& expected) {
  if (!condition) throw UserError(std::string("scene: '") + field + "' must be " + expected);
}

ImageRgba mirrored(const ImageRgba& image) {
  ImageRgba result = image;
  for (std::int64_t y = 0; y < image.height; ++y) {
    std::uint8_t* row = result.pixels.data() + y * image.width * 4;
    for (std::int64_t x = 0; x < image.width / 2; ++x) {
      std::swap_ranges(row + x * 4, row + x * 4 + 4, row + (image.width - 1 - x) * 4);
    }
  }
  return result;
}

struct Placed {
  double height = 0;
  double width = 0;
  bool mirror = false;
};

Placed draw_size(const StampPicture& stamp, const SceneOptions& options, Random& random) {
  const double longest = random.uniform(options.stamp_scale[0], options.stamp_scale[1]);
  const auto height = static_cast<double>(stamp.image.height), width = static_cast<double>(stamp.image.width);
  const double scale = longest * static_cast<double>(options.image_size) / std::max(height, width);
  Placed placed{height * scale, width * scale, false};
  placed.mirror = random.coin(options.flip);
  return placed;
}

std::int64_t pixels(double length, std::int64_t limit) {
  return std::clamp<std::int64_t>(std::lround(length), 1, limit);
}

void draw(Image& image, const StampPicture& stamp, const Placed& placed, double left, Random& random) {
  const std::int64_t height = pixels(placed.height, image.height), width = pixels(placed.width, image.width);
  const ImageRgba small = resize_area(stamp.image, height, width);
  const std::int64_t top = random.below(image.height - height + 1);
  const auto corner = std::clamp<std::int64_t>(std::lround(left), 0, image.width - width);
  draw_over(image, placed.mirror ? mirrored(small) : small, top, corner);
}

}  // namespace

void visit_fields(FieldVisitor& visitor, SceneOptions& options) {
  visitor.field("image_size", options.image_size);
  visitor.field("stamp_scale", options.stamp_scale);
  visitor.field("backgrounds", options.backgrounds);
  visitor.field("flip", options.flip);
}

void validate(const SceneOptions& options) {
  require(options.image_size >= 16 && options.image_size <= 1024, "image_size", "from 16 to 1024");
  const auto& scale = options.stamp_scale;
  require(scale.size() == 2 && scale[0] > 0 && scale[0] <= scale[1] && scale[1] <= 1, "stamp_scale",
          "two ascending numbers above 0 and at most 1");
  require(options.flip >= 0 && options.flip <= 1, "flip", "a probability");
  require(!options.backgrounds.empty(), "backgrounds", "a list with at least one kind");
  const auto& kinds = background_kinds();
  for (const auto& kind : options.backgrounds) {
    require(std::find(kinds.begin(), kinds.end(), kind) != kinds.end(), "backgrounds",
            "made of plain, gradient, stripes, checks and noise, found '" + kind + "'");
  }
}

std::string list_objects(std::vector<std::string> objects) {
  auto noun = [](const std::string& object) { return object.substr(object.find(' ') + 1); };
  std::sort(objects.begin(), objects.end(), [&](const auto& a, const auto& b) { return noun(a) < noun(b); });
  std::string caption;
  for (std::size_t i = 0; i < objects.size(); ++i) caption += (i == 0 ? "" : " and ") + objects[i];
  return caption;
}

Scene compose_scene(std::span<const StampPicture* const> stamps, const SceneOptions& options, Random& random) {
  TORCH_CHECK(stamps.size() == 1 || stamps.size() == 2, "compose_scene: expected 1 or 2 stamps, found ", stamps.size());
  const auto kind = static_cast<std::size_t>(random.below(static_cast<std::int64_t>(options.backgrounds.size())));
  Scene scene;
  scene.image = make_background(options.backgrounds[kind], options.image_size, random);
  std::vector<Placed> placed;
  double total = 0;
  for (const auto* stamp : stamps) {
    placed.push_back(draw_size(*stamp, options, random));
    total += placed.back().width;
    scene.objects.push_back(stamp->caption);
  }
  const auto side = static_cast<double>(options.image_size);
  const double shrink = std::min(1.0, side * (stamps.size() == 2 ? 1 + kOverlap : 1.0) / total);
  for (auto& one : placed) one.height *= shrink, one.width *= shrink;
  // What is left of the width becomes the gaps: before the first, between the two and after the last.
  const double slack = side - total * shrink;
  double before = random.uniform() * std::max(slack, 0.0), after = random.uniform() * std::max(slack, 0.0);
  if (before > after) std::swap(before, after);
  draw(scene.image, *stamps[0], placed[0], before, random);
  if (stamps.size() == 2) {
    const double right_edge = after + std::min(side, total * shrink);
    draw(scene.image, *stamps[1], placed[1], right_edge - placed[1].width, random);
  }
  scene.caption = list_objects(scene.objects);
  return scene;
}

void draw_over(Image& image, const ImageRgba& stamp, std::int64_t top, std::int64_t left) {
  for (std::int64_t y = std::max<std::int64_t>(0, -top); y < std::min(stamp.height, image.height - top); ++y) {
    for (std::int64_t x = std::max<std::int64_t>(0, -left); x < std::min(stamp.width, image.width - left); ++x) {
      const std::uint8_t* over = stamp.pixels.data() + (y * stamp.width + x) * 4;
      std::uint8_t* under = image.pixels.data() + ((top + y) * image.width + left + x) * 3;
      for (int c = 0; c < 3; ++c) {
        under[c] = static_cast<std::uint8_t>((over[c] * over[3] + under[c] * (255 - over[3]) + 127) / 255);
      }
    }
  }
}

}  // namespace blip2
