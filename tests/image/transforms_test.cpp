#include "blip2/image/transforms.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>

#include "blip2/core/config.h"
#include "blip2/core/read_file.h"
#include "image/fingerprint.h"
#include "image/numbered.h"
#include "support/expect_error.h"

namespace blip2 {
namespace {

const std::filesystem::path kData = std::filesystem::path(BLIP2_TEST_DATA) / "image";

void expect_resized(const nlohmann::json& entry) {
  Image image = load_image(kData / entry.at("file").get<std::string>());
  const bool cropped = entry.contains("box");
  if (cropped) {
    const auto box = entry.at("box").get<std::vector<std::int64_t>>();
    image = crop(image, {box[0], box[1], box[2], box[3]});
  }
  image = resize_bicubic(image, entry.at("height"), entry.at("width"));
  if (cropped && entry.at("flip").get<bool>()) image = flip_horizontal(image);
  EXPECT_EQ(fingerprint(image.pixels), entry.at("pixels").get<std::string>()) << entry.dump();
}

TEST(ResizeBicubic, EqualsPillowToTheBit) {
  const auto expected = load_json(kData / "expected.json").at("resized");
  ASSERT_EQ(expected.size(), 32U);
  for (const auto& entry : expected) expect_resized(entry);
}

TEST(ResizeBicubic, EqualsTheLavisTransforms) {
  const auto expected = load_json(kData / "expected.json").at("lavis_resized");
  ASSERT_EQ(expected.size(), 10U);
  for (const auto& entry : expected) expect_resized(entry);
}

TEST(ResizeBicubic, EqualSizeIsACopyAndFlatStaysFlat) {
  const Image image = numbered(5, 7);
  EXPECT_EQ(resize_bicubic(image, 5, 7).pixels, image.pixels);
  const Image flat{3, 4, std::vector<std::uint8_t>(36, 199)};
  for (const auto size : {1, 2, 9, 40}) {
    const Image resized = resize_bicubic(flat, size, size + 1);
    EXPECT_EQ(resized.pixels, std::vector<std::uint8_t>(static_cast<std::size_t>(size * (size + 1) * 3), 199)) << size;
  }
}

TEST(ResizeBicubic, RefusesSizesThatMakeNoSense) {
  EXPECT_ANY_THROW(resize_bicubic(numbered(2, 2), 0, 4));
  EXPECT_ANY_THROW(resize_bicubic(numbered(2, 2), std::int64_t{1} << 40, std::int64_t{1} << 40));
  EXPECT_ANY_THROW(resize_bicubic(Image{}, 4, 4));
  EXPECT_ANY_THROW(resize_bicubic(Image{4, 4, {1, 2, 3}}, 4, 4));
}

TEST(Crop, TakesTheNamedPixels) {
  const Image image = numbered(4, 5);
  const Image part = crop(image, {1, 2, 2, 3});
  ASSERT_EQ(part.pixels.size(), 18U);
  for (std::size_t y = 0; y < 2; ++y) {
    for (std::size_t x = 0; x < 3; ++x)
      EXPECT_EQ(part.pixels[(y * 3 + x) * 3 + 1], image.pixels[((y + 1) * 5 + x + 2) * 3 + 1]);
  }
  EXPECT_ANY_THROW(crop(image, {0, 0, 5, 5}));
  EXPECT_ANY_THROW(crop(image, {0, 3, 1, 3}));
  EXPECT_ANY_THROW(crop(image, {-1, 0, 1, 1}));
}

TEST(FlipHorizontal, MirrorsPixelsNotChannels) {
  const Image flipped = flip_horizontal({1, 3, {1, 2, 3, 4, 5, 6, 7, 8, 9}});
  EXPECT_EQ(flipped.pixels, (std::vector<std::uint8_t>{7, 8, 9, 4, 5, 6, 1, 2, 3}));
}

TEST(RandomResizedCrop, StatisticsAreTorchvisions) {
  const auto reference = load_json(kData / "expected.json").at("crop_statistics");
  const std::int64_t height = reference.at("image")[0], width = reference.at("image")[1];
  double area = 0, area_square = 0, log_ratio = 0, log_ratio_square = 0, top = 0, left = 0;
  constexpr int kCount = 20000;
  Random random({3});
  for (int i = 0; i < kCount; ++i) {
    const CropBox box = random_resized_crop_box(height, width, {0.5, 1.0}, {0.75, 4.0 / 3.0}, random);
    ASSERT_TRUE(box.top >= 0 && box.left >= 0 && box.top + box.height <= height && box.left + box.width <= width);
    const double share = static_cast<double>(box.height * box.width) / static_cast<double>(height * width);
    const double ratio = std::log(static_cast<double>(box.width) / static_cast<double>(box.height));
    area += share, area_square += share * share, log_ratio += ratio, log_ratio_square += ratio * ratio;
    top += static_cast<double>(box.top), left += static_cast<double>(box.left);
  }
  const auto deviation = [&](double sum, double square) {
    return std::sqrt(square / kCount - sum / kCount * sum / kCount);
  };
  // The reference drew 4000 boxes: four standard errors of its means.
  EXPECT_NEAR(area / kCount, reference.at("mean_area").get<double>(), 0.008);
  EXPECT_NEAR(deviation(area, area_square), reference.at("std_area").get<double>(), 0.006);
  EXPECT_NEAR(log_ratio / kCount, reference.at("mean_log_ratio").get<double>(), 0.01);
  EXPECT_NEAR(deviation(log_ratio, log_ratio_square), reference.at("std_log_ratio").get<double>(), 0.008);
  EXPECT_NEAR(top / kCount, reference.at("mean_top").get<double>(), 0.5);
  EXPECT_NEAR(left / kCount, reference.at("mean_left").get<double>(), 1.0);
}

TEST(RandomResizedCrop, FallsBackToTheCentreWithTheNearestAllowedRatio) {
  Random random({4});
  const CropBox wide = random_resized_crop_box(100, 1000, {1, 1}, {0.75, 4.0 / 3.0}, random);
  EXPECT_EQ(wide.height, 100);
  EXPECT_EQ(wide.width, 133);
  EXPECT_EQ(wide.left, 433);
  EXPECT_EQ(wide.top, 0);
  const CropBox tall = random_resized_crop_box(1000, 90, {1, 1}, {0.75, 4.0 / 3.0}, random);
  EXPECT_EQ(tall.height, 120);
  EXPECT_EQ(tall.top, 440);
  EXPECT_EQ(tall.width, 90);
}

TEST(RandomResizedCrop, ScaleOneKeepsASquareWhole) {
  Random random({5});
  for (int i = 0; i < 200; ++i) {
    const CropBox box = random_resized_crop_box(64, 64, {1, 1}, {0.75, 4.0 / 3.0}, random);
    EXPECT_EQ(box.height * box.width, 64 * 64);
  }
}

TEST(Normalize, EqualsThePilImageProcessor) {
  const ImageTransformOptions options;
  for (const std::string file : {"rgb.png", "rgb_420.jpg"}) {
    const auto bytes = read_file(kData / (file + ".pixel_values.f32"), 1 << 20);
    std::vector<float> expected(bytes.size() / sizeof(float));
    std::memcpy(expected.data(), bytes.data(), bytes.size());
    const auto values = normalize(resize_bicubic(load_image(kData / file), 112, 112), options.mean, options.std);
    EXPECT_EQ(values, expected) << file;
  }
}

TEST(Transforms, EvaluationIgnoresAspectAndTrainingIsReproducible) {
  ImageTransformOptions options;
  options.image_size = 12;
  const Image image = numbered(30, 20);
  EXPECT_EQ(evaluation_transform(image, options), normalize(resize_bicubic(image, 12, 12), options.mean, options.std));
  Random a({1, 0, 7}), b({1, 0, 7}), c({1, 0, 8});
  const auto first = training_transform(image, options, a);
  EXPECT_EQ(first.size(), 3U * 12 * 12);
  EXPECT_EQ(first, training_transform(image, options, b));
  EXPECT_NE(first, training_transform(image, options, c));
}

TEST(Transforms, FlipProbabilityDecidesTheMirror) {
  ImageTransformOptions options;
  options.image_size = 9;
  options.crop_scale = {1, 1};
  const Image image = numbered(9, 9);
  Random random({2});
  options.horizontal_flip = 0;
  EXPECT_EQ(training_transform(image, options, random), evaluation_transform(image, options));
  options.horizontal_flip = 1;
  EXPECT_EQ(training_transform(image, options, random), evaluation_transform(flip_horizontal(image), options));
}

TEST(Transforms, OptionsAreReadFromJsonAndChecked) {
  ImageTransformOptions options;
  read_config({{"image_size", 64}, {"crop_scale", {1, 1}}, {"horizontal_flip", 0}}, options, "run.json");
  EXPECT_EQ(options.image_size, 64);
  EXPECT_EQ(options.crop_scale, (std::vector<double>{1, 1}));
  const auto refused = [](auto change) {
    ImageTransformOptions bad;
    change(bad);
    validate(bad);
  };
  EXPECT_USER_ERROR(refused([](auto& o) { o.image_size = 0; }), "image transform: 'image_size' must be from 1 to 8192");
  EXPECT_USER_ERROR(refused([](auto& o) { o.crop_scale = {0.5}; }), "'crop_scale' must be two ascending numbers");
  EXPECT_USER_ERROR(refused([](auto& o) { o.crop_scale = {0.5, 1.5}; }), "'crop_scale' must be");
  EXPECT_USER_ERROR(refused([](auto& o) {
                      o.crop_ratio = {2, 1};
                    }),
                    "'crop_ratio' must be two ascending numbers above 0");
  EXPECT_USER_ERROR(refused([](auto& o) { o.horizontal_flip = 2; }), "'horizontal_flip' must be a probability");
  EXPECT_USER_ERROR(refused([](auto& o) { o.mean = {}; }), "'mean' must be three numbers");
  EXPECT_USER_ERROR(refused([](auto& o) { o.std = {1, 0, 1}; }), "'std' must be three numbers above 0");
}

}  // namespace
}  // namespace blip2
