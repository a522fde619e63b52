#include "blip2/image/rand_augment.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "blip2/core/config.h"
#include "blip2/image/transforms.h"
#include "image/numbered.h"
#include "support/expect_error.h"

namespace blip2 {
namespace {

const std::filesystem::path kData = std::filesystem::path(BLIP2_TEST_DATA) / "image";

/** The pictures of rand_augment.png and what scripts/make_image_test_data.py says of them. */
class Reference {
 public:
  Reference() : about_(load_json(kData / "rand_augment.json")), sheet_(load_image(kData / "rand_augment.png")) {}

  const nlohmann::json& cases() const { return about_.at("cases"); }

  Image picture(const nlohmann::json& row) const {
    const std::int64_t height = about_.at("height");
    return crop(sheet_, {row.get<std::int64_t>() * height, 0, height, sheet_.width});
  }

 private:
  nlohmann::json about_;
  Image sheet_;
};

Augmentation augmentation_of(const nlohmann::json& step) {
  return {parse_augment_operation(step.at("operation")), step.at("level"), step.at("negative")};
}

TEST(Augment, EqualsLavisAndPillowToTheBit) {
  const Reference reference;
  ASSERT_EQ(reference.cases().size(), 51U);
  for (const auto& one : reference.cases()) {
    Image image = reference.picture(one.at("source"));
    for (const auto& step : one.at("steps")) image = augment(image, augmentation_of(step), one.at("lavis_overflow"));
    EXPECT_EQ(image.pixels, reference.picture(one.at("result")).pixels) << one.at("key");
  }
}

TEST(Augment, ArgumentsAreLavis) {
  const Reference reference;
  std::map<std::string, int> compared;
  for (const auto& one : reference.cases()) {
    for (const auto& step : one.at("steps")) {
      const double expected = step.value("argument", 0.0);
      EXPECT_EQ(augment_argument(augmentation_of(step)), expected) << one.at("key");
      ++compared[step.at("operation")];
    }
  }
  EXPECT_EQ(compared.size(), augment_operation_names().size());
}

TEST(Augment, LevelFiveKeepsBrightnessAndSharpness) {
  const Image image = numbered(9, 11);
  for (const auto operation : {AugmentOperation::kBrightness, AugmentOperation::kSharpness}) {
    EXPECT_EQ(augment(image, {operation, 5}).pixels, image.pixels);
    EXPECT_NE(augment(image, {operation, 6}).pixels, image.pixels);
  }
}

TEST(Augment, LavisOverflowsWherePillowStops) {
  const Image dull{1, 2, {90, 0, 7, 130, 1, 7}};
  EXPECT_EQ(augment(dull, {AugmentOperation::kAutoContrast}).pixels, (std::vector<std::uint8_t>{0, 0, 7, 255, 255, 7}));
  EXPECT_EQ(augment(dull, {AugmentOperation::kAutoContrast}, true).pixels,
            (std::vector<std::uint8_t>{255, 0, 7, 255, 255, 7}));
  Image spot{3, 3, std::vector<std::uint8_t>(27, 100)};
  std::fill_n(spot.pixels.begin() + 12, 3, std::uint8_t{250});
  // The mean is 1550 / 13 = 158 and a half, and 158 + 1.72 * (250 - 158) is 316.24.
  EXPECT_EQ(augment(spot, {AugmentOperation::kSharpness, 9}).pixels[12], 255);
  EXPECT_EQ(augment(spot, {AugmentOperation::kSharpness, 9}, true).pixels[12], 316 - 256);
}

TEST(Augment, TranslationsMoveLeftAndUpAndFillWithGrey) {
  const Image image = numbered(13, 14);
  const Image left = augment(image, {AugmentOperation::kTranslateX, 2});
  const Image down = augment(image, {AugmentOperation::kTranslateY, 3, /*negative=*/true});
  const auto at = [](const Image& picture, std::int64_t y, std::int64_t x) {
    return picture.pixels[static_cast<std::size_t>((y * picture.width + x) * 3 + 1)];
  };
  for (std::int64_t y = 0; y < image.height; ++y) {
    for (std::int64_t x = 0; x < image.width; ++x) {
      ASSERT_EQ(at(left, y, x), x + 2 < image.width ? at(image, y, x + 2) : 128) << y << " " << x;
      ASSERT_EQ(at(down, y, x), y >= 3 ? at(image, y - 3, x) : 128) << y << " " << x;
    }
  }
}

TEST(Augment, TakesPicturesOfOnePixel) {
  const Image dot{1, 1, {10, 20, 30}};
  for (const auto& name : augment_operation_names()) {
    EXPECT_EQ(augment(dot, {parse_augment_operation(name), 5}).pixels.size(), 3U) << name;
  }
  EXPECT_EQ(augment(dot, {AugmentOperation::kEqualize}).pixels, dot.pixels);
  EXPECT_EQ(augment(dot, {AugmentOperation::kSharpness, 9}).pixels, dot.pixels);
}

TEST(Augment, RefusesWhatIsNoPictureOrLevel) {
  const Image image = numbered(4, 4);
  EXPECT_ANY_THROW(augment(image, {AugmentOperation::kIdentity, 11}));
  EXPECT_ANY_THROW(augment(image, {AugmentOperation::kRotate, -1}));
  EXPECT_ANY_THROW(augment(Image{}, {AugmentOperation::kIdentity}));
  EXPECT_ANY_THROW(augment(Image{4, 4, {1, 2, 3}}, {AugmentOperation::kEqualize}));
}

TEST(AugmentOperation, NamesAreReadBack) {
  const auto& names = augment_operation_names();
  ASSERT_EQ(names.size(), 10U);
  for (std::size_t i = 0; i < names.size(); ++i) {
    EXPECT_EQ(static_cast<std::size_t>(parse_augment_operation(names[i])), i);
  }
  EXPECT_EQ(parse_augment_operation("TranslateY"), AugmentOperation::kTranslateY);
  EXPECT_USER_ERROR(parse_augment_operation("Rotat"),
                    "image augmentation: unknown operation 'Rotat', expected one of Identity, AutoContrast, Brightness,"
                    " Sharpness, Equalize, ShearX, ShearY, TranslateX, TranslateY, Rotate");
}

TEST(DrawAugmentations, HalfOfTwoAreAppliedAndAllAreAsLikely) {
  constexpr int kPictures = 20000;
  Random random({11});
  std::map<std::size_t, int> pictures_of_size;
  std::map<AugmentOperation, int> drawn;
  int applied = 0, signs = 0, negative = 0;
  for (int i = 0; i < kPictures; ++i) {
    const auto augmentations = draw_augmentations({}, random);
    ++pictures_of_size[augmentations.size()];
    for (const Augmentation& one : augmentations) {
      EXPECT_EQ(one.level, 5);
      ++drawn[one.operation], ++applied;
      EXPECT_FALSE(one.negative && !has_sign(one.operation));
      signs += has_sign(one.operation);
      negative += one.negative;
    }
  }
  // Four standard deviations each.
  EXPECT_NEAR(applied, 0.5 * 2 * kPictures, 400);
  EXPECT_NEAR(pictures_of_size[0], 0.25 * kPictures, 245);
  EXPECT_NEAR(pictures_of_size[2], 0.25 * kPictures, 245);
  EXPECT_EQ(drawn.size(), 10U);
  for (const auto& [operation, count] : drawn) EXPECT_NEAR(count, 0.1 * kPictures, 175) << static_cast<int>(operation);
  EXPECT_NEAR(negative, 0.5 * signs, 200);
}

TEST(DrawAugmentations, OptionsDecide) {
  RandAugmentOptions options;
  options.operations = {"ShearY", "Equalize"};
  options.count = 3;
  options.level = 8;
  options.probability = 1;
  Random random({12});
  bool all_equal = true;
  for (int i = 0; i < 50; ++i) {
    const auto drawn = draw_augmentations(options, random);
    ASSERT_EQ(drawn.size(), 3U);
    for (const Augmentation& one : drawn) {
      EXPECT_TRUE(one.operation == AugmentOperation::kShearY || one.operation == AugmentOperation::kEqualize);
      EXPECT_EQ(one.level, 8);
      all_equal = all_equal && one.operation == drawn[0].operation;
    }
  }
  EXPECT_FALSE(all_equal);
  options.probability = 0;
  EXPECT_TRUE(draw_augmentations(options, random).empty());
}

TEST(RandAugment, AppliesWhatIsDrawnInOrderAndIsReproducible) {
  const Image image = numbered(20, 24);
  RandAugmentOptions options;
  options.lavis_overflow = true;
  bool changed = false;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    Random random({seed}), same({seed}), drawing({seed});
    Image expected = image;
    for (const auto& one : draw_augmentations(options, drawing)) expected = augment(expected, one, true);
    const Image actual = rand_augment(image, options, random);
    EXPECT_EQ(actual.pixels, expected.pixels) << seed;
    EXPECT_EQ(actual.pixels, rand_augment(image, options, same).pixels) << seed;
    changed = changed || actual.pixels != image.pixels;
  }
  EXPECT_TRUE(changed);
}

/** What training_transform does before it normalises, step by step. */
Image cropped_and_mirrored(const Image& image, const ImageTransformOptions& options, Random& random) {
  const CropBox box = random_resized_crop_box(image.height, image.width, {0.5, 1.0}, {3.0 / 4.0, 4.0 / 3.0}, random);
  const Image resized = resize_bicubic(crop(image, box), options.image_size, options.image_size);
  return random.coin(0.5) ? flip_horizontal(resized) : resized;
}

TEST(RandAugment, ComesAfterTheMirrorInTraining) {
  const Image image = numbered(40, 30);
  ImageTransformOptions options;
  options.image_size = 24;
  options.rand_augment = true;
  options.augmentation.probability = 1;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Random random({seed}), same({seed});
    const Image expected = rand_augment(cropped_and_mirrored(image, options, same), options.augmentation, same);
    EXPECT_EQ(training_transform(image, options, random), normalize(expected, options.mean, options.std)) << seed;
    EXPECT_EQ(random.bits(), same.bits()) << seed;
  }
}

TEST(RandAugment, DrawsNoNumberWhereItIsNotAskedFor) {
  const Image image = numbered(40, 30);
  ImageTransformOptions options;
  options.image_size = 24;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Random random({seed}), same({seed});
    const Image expected = cropped_and_mirrored(image, options, same);
    EXPECT_EQ(training_transform(image, options, random), normalize(expected, options.mean, options.std)) << seed;
    EXPECT_EQ(random.bits(), same.bits()) << seed;
  }
  ImageTransformOptions augmented = options;
  augmented.rand_augment = true;
  EXPECT_EQ(evaluation_transform(image, augmented), evaluation_transform(image, options));
}

TEST(RandAugmentOptions, AreReadFromTheTransformsConfig) {
  ImageTransformOptions options;
  EXPECT_FALSE(options.rand_augment);
  const nlohmann::json augmentation = {
      {"operations", {"Rotate"}}, {"count", 1}, {"probability", 0.25}, {"level", 9}, {"lavis_overflow", true}};
  read_config({{"rand_augment", true}, {"augmentation", augmentation}}, options, "run.json");
  EXPECT_NO_THROW(validate(options));
  EXPECT_TRUE(options.rand_augment);
  EXPECT_EQ(write_config(options).at("augmentation"), augmentation);
}

TEST(RandAugmentOptions, AreChecked) {
  const auto refused = [](auto change) {
    ImageTransformOptions bad;
    change(bad.augmentation);
    validate(bad);
  };
  EXPECT_USER_ERROR(refused([](auto& o) { o.operations = {}; }),
                    "image transform: 'augmentation.operations' must be at least one operation's name, found an empty "
                    "list");
  EXPECT_USER_ERROR(refused([](auto& o) { o.operations.push_back("Solarize"); }),
                    "image transform: 'augmentation.operations' has the unknown operation 'Solarize', expected one of "
                    "Identity, AutoContrast, ");
  EXPECT_USER_ERROR(refused([](auto& o) { o.count = 0; }),
                    "image transform: 'augmentation.count' must be from 1 to 10, found 0");
  EXPECT_USER_ERROR(refused([](auto& o) { o.count = 11; }), "'augmentation.count' must be from 1 to 10, found 11");
  EXPECT_USER_ERROR(refused([](auto& o) { o.probability = 1.5; }),
                    "image transform: 'augmentation.probability' must be from 0 to 1, found 1.5");
  EXPECT_USER_ERROR(refused([](auto& o) { o.probability = std::nan(""); }), "'augmentation.probability' must be");
  EXPECT_USER_ERROR(refused([](auto& o) { o.level = -1; }),
                    "image transform: 'augmentation.level' must be from 0 to 10, found -1");
  EXPECT_USER_ERROR(refused([](auto& o) { o.level = 11; }), "'augmentation.level' must be from 0 to 10, found 11");
}

}  // namespace
}  // namespace blip2
