#include "blip2/data/loader.h"

#include <atomic>
#include <set>

#include "support/expect_error.h"

namespace blip2 {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAreArray;

// Sample i is [3, 2, 2] pixels: its index, then random numbers. Some indices cannot be read.
class NumberSource final : public SampleSource {
 public:
  explicit NumberSource(std::int64_t size, std::set<std::int64_t> damaged = {})
      : size_(size), damaged_(std::move(damaged)) {}

  std::int64_t size() const override { return size_; }
  std::int64_t image_size() const override { return 2; }
  std::string name(std::int64_t index) const override { return "picture " + std::to_string(index); }

  Sample load(std::int64_t index, Random& random) const override {
    ++loads;
    if (index == fatal_index) throw std::logic_error("a bug");
    if (damaged_.contains(index)) throw UserError("'" + name(index) + "' is damaged");
    Sample sample;
    sample.pixels.push_back(static_cast<float>(index));
    for (int i = 1; i < 12; ++i) sample.pixels.push_back(static_cast<float>(random.uniform()));
    sample.caption = "caption " + std::to_string(index);
    sample.image_id = 100 + index;
    return sample;
  }

  mutable std::atomic<int> loads = 0;
  std::int64_t fatal_index = -1;

 private:
  std::int64_t size_;
  std::set<std::int64_t> damaged_;
};

LoaderOptions options_of(std::int64_t batch_size, std::int64_t workers, bool shuffle = true) {
  LoaderOptions options;
  options.seed = 7;
  options.batch_size = batch_size;
  options.workers = workers;
  options.prefetch_batches = 3;
  options.shuffle = shuffle;
  return options;
}

std::vector<Batch> take(Loader& loader, int count) {
  std::vector<Batch> batches;
  for (int i = 0; i < count; ++i) batches.push_back(loader.next());
  return batches;
}

void expect_equal(const Batch& a, const Batch& b) {
  EXPECT_TRUE(at::equal(a.pixels, b.pixels));
  EXPECT_EQ(a.captions, b.captions);
  EXPECT_EQ(a.image_ids, b.image_ids);
  EXPECT_EQ(a.indices, b.indices);
}

TEST(Loader, GivesTheSameBatchesWithAnyNumberOfWorkers) {
  const auto source = std::make_shared<NumberSource>(23, std::set<std::int64_t>{3, 4, 17});
  Loader alone(source, options_of(4, 0));
  const auto expected = take(alone, 14);
  for (const std::int64_t workers : {1, 3}) {
    Loader loader(std::make_shared<NumberSource>(23, std::set<std::int64_t>{3, 4, 17}), options_of(4, workers));
    const auto found = take(loader, 14);
    for (std::size_t i = 0; i < expected.size(); ++i) expect_equal(found[i], expected[i]);
  }
}

TEST(Loader, PutsTogetherWhatTheSourceGave) {
  Loader loader(std::make_shared<NumberSource>(8), options_of(4, 2));
  const auto batch = loader.next();
  EXPECT_EQ(batch.pixels.sizes(), (std::vector<std::int64_t>{4, 3, 2, 2}));
  for (std::size_t i = 0; i < 4; ++i) {
    const auto index = batch.indices[i];
    EXPECT_EQ(batch.pixels[i][0][0][0].item<float>(), static_cast<float>(index));
    EXPECT_EQ(batch.captions[i], "caption " + std::to_string(index));
    EXPECT_EQ(batch.image_ids[i], 100 + index);
  }
}

TEST(Loader, VisitsEverySampleOnceAnEpochInANewOrder) {
  Loader loader(std::make_shared<NumberSource>(12), options_of(4, 2));
  EXPECT_EQ(loader.batches_per_epoch(), 3);
  std::vector<std::vector<std::int64_t>> epochs(2);
  std::vector<float> noise(2);
  for (auto& epoch : epochs) {
    for (const auto& batch : take(loader, 3)) {
      epoch.insert(epoch.end(), batch.indices.begin(), batch.indices.end());
      for (std::size_t i = 0; i < 4; ++i) {
        if (batch.indices[i] == 5) noise[&epoch - epochs.data()] = batch.pixels[i][0][0][1].item<float>();
      }
    }
    EXPECT_THAT(epoch, UnorderedElementsAreArray({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}));
  }
  EXPECT_NE(epochs[0], epochs[1]);
  EXPECT_NE(noise[0], noise[1]);  // another augmentation in another epoch
}

TEST(Loader, ResumesAtAnyPosition) {
  for (const std::int64_t workers : {0, 3}) {
    Loader straight(std::make_shared<NumberSource>(10), options_of(3, workers));
    const auto expected = take(straight, 9);
    Loader resumed(std::make_shared<NumberSource>(10), options_of(3, workers));
    resumed.next();
    resumed.seek(5);
    for (std::size_t i = 5; i < 9; ++i) expect_equal(resumed.next(), expected[i]);
    resumed.seek(2);
    EXPECT_EQ(resumed.position(), 2);
    expect_equal(resumed.next(), expected[2]);
  }
}

TEST(Loader, ReplacesUnreadableSamplesAndNamesThemOnce) {
  const auto source = std::make_shared<NumberSource>(12, std::set<std::int64_t>{2, 9});
  std::vector<std::string> reported;
  Loader loader(source, options_of(4, 2), [&](const SkippedSample& sample) { reported.push_back(sample.reason); });
  for (const auto& batch : take(loader, 9)) {
    EXPECT_EQ(batch.size(), 4);
    EXPECT_EQ(std::set<std::int64_t>(batch.indices.begin(), batch.indices.end()).size(), 4u);
    for (const auto index : batch.indices) EXPECT_TRUE(index != 2 && index != 9);
  }
  EXPECT_THAT(reported, UnorderedElementsAreArray({"'picture 2' is damaged", "'picture 9' is damaged"}));
  ASSERT_EQ(loader.skipped().size(), 2u);
  EXPECT_EQ(loader.skipped()[1].index, 9);
  EXPECT_EQ(loader.skipped()[1].name, "picture 9");
}

TEST(Loader, LeavesUnreadableSamplesOutOfAnEvaluation) {
  Loader loader(std::make_shared<NumberSource>(5, std::set<std::int64_t>{1}), options_of(2, 2, /*shuffle=*/false));
  EXPECT_EQ(loader.batches_per_epoch(), 3);
  const auto batches = take(loader, 3);
  EXPECT_THAT(batches[0].indices, ElementsAre(0));
  EXPECT_THAT(batches[1].indices, ElementsAre(2, 3));
  EXPECT_THAT(batches[2].indices, ElementsAre(4));
  EXPECT_EQ(batches[2].pixels.size(0), 1);
}

TEST(Loader, FailsWhenNoSampleCanBeRead) {
  for (const std::int64_t workers : {0, 2}) {
    Loader loader(std::make_shared<NumberSource>(3, std::set<std::int64_t>{0, 1, 2}), options_of(2, workers));
    EXPECT_USER_ERROR(loader.next(),
                      "none of the 3 samples can be read ('picture 0' is damaged): check the paths in the annotation "
                      "file");
  }
}

TEST(Loader, HandsWhatAWorkerThrewToTheCaller) {
  for (const std::int64_t workers : {0, 2}) {
    const auto source = std::make_shared<NumberSource>(6);
    source->fatal_index = 4;
    Loader loader(source, options_of(6, workers));
    EXPECT_THROW(loader.next(), std::logic_error);
  }
}

TEST(Loader, PreparesNoMoreThanIsAskedFor) {
  const auto source = std::make_shared<NumberSource>(1000);
  Loader loader(source, options_of(10, 3));
  loader.next();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(source->loads, 40);  // the batch that was taken and three ahead
}

TEST(Loader, RefusesOptionsThatCannotWork) {
  const auto source = std::make_shared<NumberSource>(3);
  EXPECT_USER_ERROR(Loader(source, options_of(4, 0)), "'batch_size' is 4, but the data set has only 3 samples");
  EXPECT_USER_ERROR(Loader(source, options_of(0, 0)), "'batch_size' must be from 1 to 1048576, found 0");
  EXPECT_USER_ERROR(Loader(source, options_of(1, -1)), "'workers' must be from 0 to 1024, found -1");
  EXPECT_USER_ERROR(Loader(std::make_shared<NumberSource>(0), options_of(1, 0)), "the data set is empty");
}

}  // namespace
}  // namespace blip2
