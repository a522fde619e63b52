#include "blip2/data/scene.h"

#include <gtest/gtest.h>

#include <array>

#include "support/expect_error.h"

namespace blip2 {
namespace {

StampPicture block(const std::string& caption, std::uint8_t red, std::uint8_t green, std::uint8_t blue,
                   std::int64_t height = 20, std::int64_t width = 20) {
  StampPicture stamp{caption, {height, width, {}}};
  for (std::int64_t i = 0; i < height * width; ++i) {
    for (const auto value : std::array<std::uint8_t, 4>{red, green, blue, 255}) stamp.image.pixels.push_back(value);
  }
  return stamp;
}

/** Columns, as first and last + 1, that hold the pure colour; {-1, -1} when there are none. */
std::array<std::int64_t, 2> columns_of(const Image& image, const StampPicture& stamp, std::int64_t* count = nullptr) {
  std::int64_t first = -1, last = -1, pixels = 0;
  for (std::int64_t x = 0; x < image.width; ++x) {
    for (std::int64_t y = 0; y < image.height; ++y) {
      const auto* pixel = image.pixels.data() + (y * image.width + x) * 3;
      if (!std::equal(pixel, pixel + 3, stamp.image.pixels.begin())) continue;
      ++pixels;
      if (first < 0) first = x;
      last = x + 1;
    }
  }
  if (count != nullptr) *count = pixels;
  return {first, last};
}

TEST(DrawOver, AlphaIsCompositedAndRounded) {
  Image image{1, 3, {100, 100, 100, 100, 100, 100, 100, 100, 100}};
  draw_over(image, {1, 3, {200, 0, 51, 255, 200, 0, 51, 0, 200, 0, 51, 51}}, 0, 0);
  EXPECT_EQ(image.pixels, (std::vector<std::uint8_t>{200, 0, 51, 100, 100, 100, 120, 80, 90}));
}

TEST(DrawOver, WhatIsOutsideIsCut) {
  Image image{2, 2, std::vector<std::uint8_t>(12, 0)};
  const auto stamp = block("a block", 9, 9, 9, 3, 3);
  draw_over(image, stamp.image, -2, 1);
  EXPECT_EQ(image.pixels, (std::vector<std::uint8_t>{0, 0, 0, 9, 9, 9, 0, 0, 0, 0, 0, 0}));
  draw_over(image, stamp.image, 5, 5);
  draw_over(image, stamp.image, -7, 0);
}

TEST(ListObjects, OneOrTwo) {
  EXPECT_EQ(list_objects({"a tiger"}), "a tiger");
  EXPECT_EQ(list_objects({"a red apple", "a tiger"}), "a red apple and a tiger");
  EXPECT_EQ(list_objects({"a tiger", "a red apple"}), "a red apple and a tiger") << "the places are not told";
  EXPECT_EQ(list_objects({"a zebra", "an elephant"}), "an elephant and a zebra") << "articles do not count";
}

TEST(ComposeScene, ObjectsStandFromLeftToRightWhateverTheCaptionsOrder) {
  const auto red = block("a red block", 255, 0, 0, 20, 20), blue = block("a blue block", 0, 0, 255, 24, 16);
  const std::array<const StampPicture*, 2> pair = {&red, &blue};
  for (std::uint64_t i = 0; i < 300; ++i) {
    Random random({1, i});
    const Scene scene = compose_scene(pair, {}, random);
    EXPECT_EQ(scene.caption, "a blue block and a red block");
    EXPECT_EQ(scene.objects, (std::vector<std::string>{"a red block", "a blue block"}));
    ASSERT_EQ(scene.image.pixels.size(), 64U * 64 * 3);
    std::int64_t red_pixels = 0, blue_pixels = 0;
    const auto left = columns_of(scene.image, red, &red_pixels), right = columns_of(scene.image, blue, &blue_pixels);
    EXPECT_LT(left[0], right[0]);
    EXPECT_LE(left[1], right[0] + 4) << "the two hardly overlap";
    EXPECT_GT(red_pixels, 24 * 24) << i;
    EXPECT_GT(blue_pixels, 24 * 15) << i;
  }
}

TEST(ComposeScene, OneStampLiesInsideAndKeepsItsShape) {
  const auto wide = block("a plank", 250, 10, 10, 30, 60);
  const std::array<const StampPicture*, 1> one = {&wide};
  SceneOptions options;
  options.stamp_scale = {0.5, 0.5};
  std::int64_t smallest = 64, largest = 0;
  for (std::uint64_t i = 0; i < 200; ++i) {
    Random random({2, i});
    const Scene scene = compose_scene(one, options, random);
    EXPECT_EQ(scene.caption, "a plank");
    std::int64_t count = 0;
    const auto columns = columns_of(scene.image, wide, &count);
    EXPECT_EQ(columns[1] - columns[0], 32);
    EXPECT_EQ(count, 32 * 16);
    smallest = std::min(smallest, columns[0]), largest = std::max(largest, columns[1]);
  }
  EXPECT_LE(smallest, 1);
  EXPECT_GE(largest, 63);
}

TEST(ComposeScene, SameStreamSamePictureAndEveryBackgroundDiffers) {
  const auto red = block("a red block", 255, 0, 0);
  const std::array<const StampPicture*, 1> one = {&red};
  SceneOptions options;
  for (const auto& kind : SceneOptions().backgrounds) {
    options.backgrounds = {kind};
    Random a({3}), b({3}), c({4});
    const auto first = compose_scene(one, options, a).image.pixels;
    EXPECT_EQ(first, compose_scene(one, options, b).image.pixels) << kind;
    EXPECT_NE(first, compose_scene(one, options, c).image.pixels) << kind;
  }
}

TEST(ComposeScene, FlipMirrorsTheStamp) {
  StampPicture half = block("a half", 255, 0, 0, 32, 32);
  for (std::size_t i = 0; i < 32 * 32; ++i) {
    if (i % 32 >= 16) half.image.pixels[4 * i] = 0, half.image.pixels[4 * i + 2] = 255;
  }
  const std::array<const StampPicture*, 1> one = {&half};
  SceneOptions options;
  options.stamp_scale = {0.5, 0.5};
  for (const double flip : {0.0, 1.0}) {
    options.flip = flip;
    Random random({5});
    const Scene scene = compose_scene(one, options, random);
    const auto red = columns_of(scene.image, block("", 255, 0, 0)),
               blue = columns_of(scene.image, block("", 0, 0, 255));
    EXPECT_EQ(red[0] < blue[0], flip == 0.0);
  }
}

TEST(SceneOptions, BadValuesAreOneSentence) {
  const auto refused = [](auto change) {
    SceneOptions options;
    change(options);
    validate(options);
  };
  EXPECT_USER_ERROR(refused([](auto& o) { o.image_size = 8; }), "scene: 'image_size' must be from 16 to 1024");
  EXPECT_USER_ERROR(refused([](auto& o) {
                      o.stamp_scale = {0.9, 0.4};
                    }),
                    "'stamp_scale' must be two ascending numbers");
  EXPECT_USER_ERROR(refused([](auto& o) { o.flip = -1; }), "'flip' must be a probability");
  EXPECT_USER_ERROR(refused([](auto& o) { o.backgrounds = {}; }),
                    "'backgrounds' must be a list with at least one kind");
  EXPECT_USER_ERROR(refused([](auto& o) { o.backgrounds = {"sky"}; }), "stripes, checks and noise, found 'sky'");
}

}  // namespace
}  // namespace blip2
