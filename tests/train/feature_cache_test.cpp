#include "blip2/train/feature_cache.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <fstream>

#include "blip2/core/config.h"
#include "blip2/image/image.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace blip2 {
namespace {

VisionOptions small_vision() {
  VisionOptions options;
  options.hidden_size = 8;
  options.intermediate_size = 16;
  options.num_hidden_layers = 2;
  options.num_attention_heads = 2;
  options.image_size = 28;
  return options;
}

class FeatureCacheTest : public ::testing::Test {
 protected:
  FeatureCacheTest() {
    nlohmann::json list = nlohmann::json::array();
    for (int i = 0; i < 4; ++i) {
      Image image{40, 50, std::vector<std::uint8_t>(40 * 50 * 3)};
      for (std::size_t j = 0; j < image.pixels.size(); ++j) image.pixels[j] = static_cast<std::uint8_t>(j * (i + 3));
      const std::string name = std::to_string(i) + ".png";
      save_png(image, folder_.path() / name);
      list.push_back({{"image", name}, {"caption", {"one", "two"}}});
    }
    std::ofstream(folder_.path() / "train.json") << list;
    options_.train = {(folder_.path() / "train.json").string()};
    options_.transform.image_size = 28;
    options_.loader.batch_size = 4;
    options_.loader.workers = 0;
    options_.feature_cache = (folder_.path() / "cache").string();
    options_.cached_views = 2;
    train_.seed = 7;
    torch::manual_seed(1);
    encoder_ = make_vision_encoder(small_vision());
    encoder_->freeze();
  }

  /** Features of every batch of some epochs, and how many pictures were read. */
  std::pair<std::vector<at::Tensor>, std::int64_t> run(std::int64_t epochs) {
    const auto source = make_training_source(options_, 28);
    FeatureCache cache(options_, small_vision(), origin_, train_, *source);
    const auto loader = make_training_loader(source, options_, train_.seed);
    std::vector<at::Tensor> features;
    std::int64_t read = 0;
    for (std::int64_t i = 0; i < epochs * loader->batches_per_epoch(); ++i) {
      const Batch batch = loader->next();
      read += static_cast<std::int64_t>(batch.pixel_rows.size());
      features.push_back(cache.features(*encoder_, batch));
    }
    return {features, read};
  }

  TemporaryFolder folder_;
  DataOptions options_;
  TrainerOptions train_;
  ModelOrigin origin_{"tower", "00ff"};
  std::shared_ptr<VisionEncoderImpl> encoder_;
};

TEST_F(FeatureCacheTest, ComputesEachViewOnceAndGivesTheSameBitsAfterwards) {
  const auto [first, read] = run(6);
  EXPECT_EQ(first.size(), 12U);
  EXPECT_EQ(first[0].sizes(), (std::vector<std::int64_t>{4, 5, 8}));
  EXPECT_GE(read, 8);   // four pictures in two views
  EXPECT_LT(read, 20);  // of 48 samples: a view may stand twice in the batch that meets it first
  const auto [second, read_again] = run(6);
  EXPECT_EQ(read_again, 0);
  for (std::size_t i = 0; i < first.size(); ++i) EXPECT_TRUE(torch::equal(first[i], second[i])) << i;
}

TEST_F(FeatureCacheTest, FeaturesAreTheEncodersOfThatView) {
  const auto source = make_training_source(options_, 28);
  FeatureCache cache(options_, small_vision(), origin_, train_, *source);
  const auto loader = make_training_loader(source, options_, train_.seed);
  const Batch batch = loader->next();
  ASSERT_EQ(batch.pixel_rows.size(), 4U);
  const torch::NoGradGuard no_grad;
  EXPECT_TRUE(torch::allclose(cache.features(*encoder_, batch), encoder_->encode(batch.pixels), 1e-5, 1e-6));
}

TEST_F(FeatureCacheTest, RefusesAStaleCache) {
  run(1);
  const std::string begin = "was made with another '";
  const ModelOrigin same = origin_;
  origin_.fingerprint = "00fe";
  EXPECT_USER_ERROR(run(1), begin + "weights'");
  origin_ = same;
  options_.transform.crop_scale = {0.2, 1.0};
  EXPECT_USER_ERROR(run(1), begin + "transform'");
  options_.transform.crop_scale = {0.5, 1.0};
  std::filesystem::copy_file(folder_.path() / "1.png", folder_.path() / "0.png",
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_USER_ERROR(run(1), begin + "pictures'");
}

TEST_F(FeatureCacheTest, RefusesACacheOfAnotherPrecision) {
  run(1);
  EXPECT_FALSE(load_json(options_.feature_cache + "/cache.json").contains("precision"));  // as older caches
  train_.precision = "bfloat16";
  EXPECT_USER_ERROR(run(1), "was made with another 'precision'");
  options_.feature_cache += "-half";
  run(1);
  train_.precision = "float32";
  EXPECT_USER_ERROR(run(1), "was made with another 'precision'");
}

TEST_F(FeatureCacheTest, RefusesOptionsThatMakeNoSense) {
  options_.cached_views = 0;
  EXPECT_USER_ERROR(run(1), "data.cached_views must be from 1 to 1024, found 0");
  options_.cached_views = 1;
  const auto source = make_training_source(options_, 28);
  EXPECT_USER_ERROR(make_feature_cache(options_, small_vision(), std::nullopt, train_, *source),
                    "data.feature_cache is set, but the image encoder learns: its output changes with every step");
  options_.feature_cache.clear();
  EXPECT_EQ(make_feature_cache(options_, small_vision(), origin_, train_, *source), nullptr);
}

}  // namespace
}  // namespace blip2
