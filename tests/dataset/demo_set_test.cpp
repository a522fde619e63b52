#include "blip2/data/demo_set.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "blip2/core/atomic_file.h"
#include "blip2/core/config.h"
#include "blip2/core/read_file.h"
#include "dataset/stamp_folder.h"
#include "support/expect_error.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using Pair = std::set<std::int64_t>;

DemoSetOptions small_options() {
  DemoSetOptions options;
  options.stamps = 8;
  options.single = 16;
  options.train = 60;
  options.held_out = 10;
  options.scene.image_size = 32;
  return options;
}

std::vector<Stamp> make_stamps(const StampFolder& folder) {
  const std::vector<std::string> captions = {"A cat",  "An owl", "A rose", "A key",  "A drum",
                                             "A boat", "A pear", "A nut",  "A lamp", "An egg"};
  nlohmann::json list = nlohmann::json::array();
  for (std::size_t i = 0; i < captions.size(); ++i) {
    const std::string name = "stamp" + std::to_string(i);
    folder.add(name, captions[i], {static_cast<int>(25 * i), 40, 250 - static_cast<int>(25 * i)});
    list.push_back(name);
  }
  return read_stamp_list(folder.write_list(list), folder.path());
}

bool write(const std::vector<Stamp>& stamps, const DemoSetOptions& options, const fs::path& folder, int threads = 2) {
  return write_demo_set(stamps, options, folder, threads, [](const std::string&, std::int64_t) {});
}

std::map<std::string, std::vector<std::uint8_t>> content_of(const fs::path& folder) {
  std::map<std::string, std::vector<std::uint8_t>> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) {
      files[entry.path().lexically_relative(folder).string()] = read_file(entry.path(), 1 << 20);
    }
  }
  return files;
}

TEST(DemoPlan, HeldOutPairsAreDistinctAndNeverInTraining) {
  const DemoSetOptions options;  // the demo's own numbers
  const DemoPlan plan = plan_demo_set(options);
  ASSERT_EQ(plan.held_out.size(), 500U);
  ASSERT_EQ(plan.train.size(), 24000U);
  std::set<Pair> held_out, train;
  for (const auto& scene : plan.held_out) held_out.insert(Pair(scene.begin(), scene.end()));
  for (const auto& scene : plan.train) train.insert(Pair(scene.begin(), scene.end()));
  EXPECT_EQ(held_out.size(), 500U);
  EXPECT_EQ(train.size(), 48U * 47 / 2 - 500);
  for (const auto& pair : held_out) {
    EXPECT_EQ(pair.size(), 2U);
    EXPECT_EQ(train.count(pair), 0U);
  }
}

TEST(DemoPlan, EveryStampOccursAboutEquallyOftenOnBothSides) {
  const DemoPlan plan = plan_demo_set({});
  std::map<std::int64_t, std::int64_t> left, right, single, held_out;
  for (const auto& scene : plan.train) ++left[scene[0]], ++right[scene[1]];
  for (const auto& scene : plan.single) ++single[scene.at(0)];
  for (const auto& scene : plan.held_out) ++held_out[scene[0]], ++held_out[scene[1]];
  for (std::int64_t stamp = 0; stamp < 48; ++stamp) {
    EXPECT_NEAR(static_cast<double>(left[stamp] + right[stamp]), 1000, 130) << stamp;
    EXPECT_NEAR(static_cast<double>(left[stamp]), 500, 110) << stamp;
    EXPECT_EQ(single[stamp], 125) << stamp;
    EXPECT_NEAR(static_cast<double>(held_out[stamp]), 1000.0 / 48, 6) << stamp;
  }
}

TEST(DemoPlan, HalfOfAllPairsStillLeavesEveryStampInTraining) {
  for (const std::int64_t stamps : {4, 5, 7, 12}) {
    DemoSetOptions options;
    options.stamps = stamps;
    options.held_out = stamps * (stamps - 1) / 4;
    std::set<std::int64_t> seen;
    for (const auto& scene : plan_demo_set(options).train) seen.insert(scene.begin(), scene.end());
    EXPECT_EQ(static_cast<std::int64_t>(seen.size()), stamps);
  }
}

TEST(DemoPlan, SeedDecides) {
  DemoSetOptions options = small_options();
  const auto first = plan_demo_set(options);
  EXPECT_EQ(first.train, plan_demo_set(options).train);
  options.seed = 2;
  EXPECT_NE(first.train, plan_demo_set(options).train);
}

TEST(DemoPlan, ImpossibleNumbersAreOneSentence) {
  DemoSetOptions options = small_options();
  options.held_out = 15;
  EXPECT_USER_ERROR(plan_demo_set(options), "8 stamps make 28 pairs, of which at most half can be held out, not 15");
  options.held_out = -1;
  EXPECT_USER_ERROR(plan_demo_set(options), "'single', 'train' and 'held_out' must be from 0 to 10000000");
  options.stamps = 2;
  EXPECT_USER_ERROR(plan_demo_set(options), "demo set: 'stamps' must be from 4 to 10000");
}

TEST(WriteDemoSet, AnnotationsDescribeThePictures) {
  const StampFolder stamps;
  const TemporaryFolder out;
  ASSERT_TRUE(write(make_stamps(stamps), small_options(), out.path()));
  std::set<std::int64_t> ids;
  std::set<std::set<std::string>> train_pairs, held_out_pairs;
  std::string training_captions;
  for (const std::string split : {"single", "train", "held_out"}) {
    for (const auto& entry : load_json(out.path() / (split + ".json"))) {
      const auto objects = entry.at("objects").get<std::vector<std::string>>();
      EXPECT_EQ(entry.at("caption").get<std::string>(), list_objects(objects));
      EXPECT_EQ(objects.size(), split == "single" ? 1U : 2U);
      EXPECT_EQ(load_image(out.path() / entry.at("image").get<std::string>()).width, 32);
      ids.insert(entry.at("image_id").get<std::int64_t>());
      if (split == "train") train_pairs.insert({objects[0], objects[1]});
      if (split == "held_out") held_out_pairs.insert({objects[0], objects[1]});
      if (split != "held_out") training_captions += entry.at("caption").get<std::string>() + "\n";
    }
  }
  EXPECT_EQ(ids.size(), 86U);
  EXPECT_EQ(*ids.begin(), 0);
  EXPECT_EQ(held_out_pairs.size(), 10U);
  for (const auto& pair : held_out_pairs) EXPECT_EQ(train_pairs.count(pair), 0U);
  std::stringstream captions;
  captions << std::ifstream(out.path() / "captions.txt").rdbuf();
  EXPECT_EQ(captions.str(), training_captions);
  const auto summary = load_json(out.path() / "summary.json");
  EXPECT_EQ(summary.at("pictures").at("train"), 60);
  EXPECT_EQ(summary.at("stamps").size(), 8U);
}

TEST(WriteDemoSet, SameSeedSameBytesForAnyNumberOfThreads) {
  const StampFolder folder;
  const auto stamps = make_stamps(folder);
  const TemporaryFolder one, three, other;
  write(stamps, small_options(), one.path(), 1);
  write(stamps, small_options(), three.path(), 3);
  EXPECT_EQ(content_of(one.path()), content_of(three.path()));
  DemoSetOptions options = small_options();
  options.seed = 2;
  write(stamps, options, other.path());
  EXPECT_NE(content_of(one.path()).at("train/00000.png"), content_of(other.path()).at("train/00000.png"));
}

TEST(WriteDemoSet, ACompleteSetIsLeftAloneAndABrokenOneIsMadeAgain) {
  const StampFolder folder;
  const auto stamps = make_stamps(folder);
  const TemporaryFolder out;
  EXPECT_TRUE(write(stamps, small_options(), out.path()));
  const auto content = content_of(out.path());
  EXPECT_FALSE(write(stamps, small_options(), out.path()));
  fs::remove(out.path() / "summary.json");  // as after a cut-off run
  fs::remove(out.path() / "train/00007.png");
  EXPECT_TRUE(write(stamps, small_options(), out.path()));
  EXPECT_EQ(content_of(out.path()), content);
  DemoSetOptions options = small_options();
  options.train = 20;
  EXPECT_TRUE(write(stamps, options, out.path()));
  EXPECT_EQ(load_json(out.path() / "train.json").size(), 20U);
}

TEST(WriteDemoSet, ASetOfAnotherFormatIsMadeAgain) {
  const StampFolder folder;
  const auto stamps = make_stamps(folder);
  const TemporaryFolder out;
  write(stamps, small_options(), out.path());
  auto summary = load_json(out.path() / "summary.json");
  EXPECT_EQ(summary.at("format"), 2);
  summary["format"] = 1;
  write_file_atomically(out.path() / "summary.json", summary.dump());
  EXPECT_TRUE(write(stamps, small_options(), out.path()));
  summary.erase("format");  // as before there was one
  write_file_atomically(out.path() / "summary.json", summary.dump());
  EXPECT_TRUE(write(stamps, small_options(), out.path()));
  EXPECT_FALSE(write(stamps, small_options(), out.path()));
}

TEST(WriteDemoSet, ShuffledCaptionsAreAPermutationThatKeepsPicturesAndHeldOut) {
  const StampFolder folder;
  const auto stamps = make_stamps(folder);
  const TemporaryFolder plain, shuffled;
  write(stamps, small_options(), plain.path());
  DemoSetOptions options = small_options();
  options.shuffle_captions = true;
  write(stamps, options, shuffled.path());
  auto before = content_of(plain.path()), after = content_of(shuffled.path());
  EXPECT_EQ(before.at("train/00003.png"), after.at("train/00003.png"));
  EXPECT_EQ(before.at("held_out.json"), after.at("held_out.json"));
  const auto captions = [](const fs::path& path) {
    std::vector<std::string> result;
    for (const auto& entry : load_json(path / "train.json")) result.push_back(entry.at("caption"));
    return result;
  };
  auto first = captions(plain.path()), second = captions(shuffled.path());
  EXPECT_NE(first, second);
  std::sort(first.begin(), first.end());
  std::sort(second.begin(), second.end());
  EXPECT_EQ(first, second);
}

TEST(WriteDemoSet, MistakesAreOneSentence) {
  const StampFolder folder;
  auto stamps = make_stamps(folder);
  const TemporaryFolder out;
  DemoSetOptions options = small_options();
  options.stamps = 11;
  EXPECT_USER_ERROR(write(stamps, options, out.path()), "11 stamps are asked for, but the list has only 10");
  std::ofstream(out.path() / "file") << "x";
  EXPECT_WORLD_ERROR(write(stamps, small_options(), out.path() / "file"), "cannot create the folder '");
  fs::remove(stamps[2].file);
  EXPECT_USER_ERROR(write(stamps, small_options(), out.path() / "b"), "stamp2.png': no such file");
}

}  // namespace
}  // namespace blip2
