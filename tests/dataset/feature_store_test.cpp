#include "blip2/data/feature_store.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <filesystem>
#include <fstream>

#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace blip2 {
namespace {

const nlohmann::json kKey = {{"weights", "0123"}, {"cached_views", 2}};

class FeatureStoreTest : public ::testing::Test {
 protected:
  TemporaryFolder folder_;
  std::filesystem::path place_ = folder_.path() / "deep" / "cache";
  at::Tensor features_ = torch::randn({2, 4});
};

TEST_F(FeatureStoreTest, GivesBackWhatWasWrittenToTheBit) {
  FeatureStore store(place_, kKey, 3, {2, 4});
  EXPECT_FALSE(store.has(1));
  store.write(1, features_);
  EXPECT_TRUE(store.has(1));
  EXPECT_FALSE(store.has(0));
  EXPECT_TRUE(torch::equal(store.read(1), features_));
  EXPECT_THROW(store.read(0), c10::Error);
}

TEST_F(FeatureStoreTest, IsThereAgainWhenOpenedAnew) {
  FeatureStore(place_, kKey, 3, {2, 4}).write(2, features_);
  const FeatureStore again(place_, kKey, 3, {2, 4});
  EXPECT_TRUE(again.has(2));
  EXPECT_TRUE(torch::equal(again.read(2), features_));
}

TEST_F(FeatureStoreTest, RefusesWhatItWasNotMadeFor) {
  FeatureStore(place_, kKey, 3, {2, 4}).write(2, features_);
  const std::string begin = "the feature cache in '" + place_.string() + "' was made with another '";
  nlohmann::json other = kKey;
  other["weights"] = "4567";
  EXPECT_USER_ERROR(FeatureStore(place_, other, 3, {2, 4}), begin + "weights': delete the folder to fill it anew");
  EXPECT_USER_ERROR(FeatureStore(place_, kKey, 4, {2, 4}), begin + "records'");
  EXPECT_USER_ERROR(FeatureStore(place_, kKey, 3, {8}), begin + "shape'");
}

TEST_F(FeatureStoreTest, DamageIsNoticed) {
  FeatureStore(place_, kKey, 3, {2, 4}).write(2, features_);
  {
    std::fstream file(place_ / "features.f32", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(2 * 32 + 5);
    file.put('x');
  }
  const FeatureStore damaged(place_, kKey, 3, {2, 4});
  EXPECT_USER_ERROR(damaged.read(2), "is damaged (record 2): delete the folder to fill it anew");
  std::filesystem::resize_file(place_ / "features.f32", 1000);
  EXPECT_USER_ERROR(FeatureStore(place_, kKey, 3, {2, 4}), "has 1000 bytes, expected 96");
}

TEST_F(FeatureStoreTest, AKilledWriterLeavesNoHalfRecords) {
  { FeatureStore store(place_, kKey, 3, {2, 4}); }
  {
    std::fstream file(place_ / "features.f32", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(32);
    file << "half a record";
  }
  EXPECT_FALSE(FeatureStore(place_, kKey, 3, {2, 4}).has(1));
}

}  // namespace
}  // namespace blip2
