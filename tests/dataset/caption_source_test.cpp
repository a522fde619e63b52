#include "blip2/data/caption_source.h"

#include <filesystem>
#include <fstream>

#include "blip2/data/loader.h"
#include "blip2/image/image.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace blip2 {
namespace {

Image picture(std::uint8_t seed) {
  Image image{10, 12, std::vector<std::uint8_t>(10 * 12 * 3)};
  for (std::size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<std::uint8_t>(i * 7 + seed);
  return image;
}

class CaptionSourceTest : public ::testing::Test {
 protected:
  CaptionSourceTest() {
    save_png(picture(1), folder_.path() / "1.png");
    save_png(picture(2), folder_.path() / "2.png");
    options_.image_size = 8;
    annotations_ = {{folder_.path() / "1.png", {"one", "eins"}, 5, {}}, {folder_.path() / "2.png", {"two"}, 6, {}}};
  }

  TemporaryFolder folder_;
  ImageTransformOptions options_;
  std::vector<Annotation> annotations_;
};

TEST_F(CaptionSourceTest, PairsEveryCaptionWithItsTransformedPicture) {
  const CaptionSource source(annotations_, options_, TransformKind::kEvaluation);
  ASSERT_EQ(source.size(), 3);
  Random random({1});
  const Sample sample = source.load(1, random);
  EXPECT_EQ(sample.caption, "eins");
  EXPECT_EQ(sample.image_id, 5);
  EXPECT_EQ(sample.pixels, evaluation_transform(picture(1), options_));
  EXPECT_EQ(source.name(2), (folder_.path() / "2.png").string());
}

TEST_F(CaptionSourceTest, AugmentsWithTheGivenRandomNumbersOnly) {
  const CaptionSource source(annotations_, options_, TransformKind::kTraining);
  Random random({3}), same({3});
  EXPECT_EQ(source.load(2, random).pixels, training_transform(picture(2), options_, same));
}

TEST_F(CaptionSourceTest, KeepsDecodedPicturesUpToItsBound) {
  options_.image_size = 600;  // no matter: the cache holds what was decoded
  const CaptionSource cached(annotations_, options_, TransformKind::kEvaluation, /*cache_megabytes=*/1);
  const CaptionSource uncached(annotations_, options_, TransformKind::kEvaluation);
  Image large{700, 600, std::vector<std::uint8_t>(700 * 600 * 3, 9)};  // 1.26 MB do not fit
  save_png(large, folder_.path() / "2.png");
  Random random({1});
  for (const std::int64_t index : {0, 2}) cached.load(index, random);
  for (const char* name : {"1.png", "2.png"}) std::filesystem::remove(folder_.path() / name);
  EXPECT_EQ(cached.load(1, random).pixels, evaluation_transform(picture(1), options_));
  EXPECT_USER_ERROR(cached.load(2, random), "2.png");
  EXPECT_USER_ERROR(uncached.load(0, random), "1.png");
}

TEST_F(CaptionSourceTest, LetsTheLoaderPassOverDamagedAndMissingFiles) {
  std::ofstream(folder_.path() / "damaged.png", std::ios::binary) << "no picture";
  annotations_.push_back({folder_.path() / "damaged.png", {"x"}, 7, {}});
  annotations_.push_back({folder_.path() / "missing.png", {"x"}, 8, {}});
  LoaderOptions options;
  options.batch_size = 5;
  options.workers = 2;
  Loader loader(std::make_shared<CaptionSource>(annotations_, options_, TransformKind::kTraining), options);
  const Batch batch = loader.next();
  EXPECT_EQ(batch.size(), 5);
  for (const auto index : batch.indices) EXPECT_LT(index, 3);
  ASSERT_EQ(loader.skipped().size(), 2u);
  EXPECT_THAT(loader.skipped()[0].reason, ::testing::HasSubstr("damaged.png"));
  EXPECT_THAT(loader.skipped()[1].reason, ::testing::HasSubstr("missing.png"));
}

}  // namespace
}  // namespace blip2
