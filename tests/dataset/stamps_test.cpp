#include "blip2/data/stamps.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "blip2/core/config.h"
#include "dataset/stamp_folder.h"
#include "support/expect_error.h"

namespace blip2 {
namespace {

const std::filesystem::path kPackage = "/usr/share/tuxpaint/stamps";
const std::filesystem::path kList = std::filesystem::path(BLIP2_TEST_DATA) / "../../configs/demo/stamps.json";

std::string cleaned(const std::string& line) {
  return clean_caption(line).value_or("(refused)");
}

TEST(CleanCaption, NounPhrasesReadWellInAList) {
  EXPECT_EQ(cleaned("A tiger."), "a tiger");
  EXPECT_EQ(cleaned("  An Indian blackbuck.\r"), "an indian blackbuck");
  EXPECT_EQ(cleaned("Circus tent."), "a circus tent");
  EXPECT_EQ(cleaned("Apple"), "an apple");
  EXPECT_EQ(cleaned("Rugby goal posts."), "some rugby goal posts");
  EXPECT_EQ(cleaned("Sweet yellow corn."), "some sweet yellow corn");
  EXPECT_EQ(cleaned("Some blueberries."), "some blueberries");
  EXPECT_EQ(cleaned("The full moon."), "the full moon");
  EXPECT_EQ(cleaned("A cluster of grapes."), "a cluster of grapes");
}

TEST(CleanCaption, SentencesJokesAndAdviceAreRefused) {
  for (const char* line : {"Eat your broccoli!",
                           "A very poisonous lionfish!",
                           "Boom!!!",
                           "A dumper. It carries its load in the front.",
                           "Holly leaves are shiny and have prickles.",
                           "A candy cane is a traditional Christmas treat.",
                           "Our moon.",
                           "George the blue groper.",
                           "Tux and spider - two friends.",
                           "Santa Claus.",
                           "Down at the docks.",
                           "We remember those who have died.",
                           "Tankers carry bulk liquids",
                           "“Hospital”.",
                           "A knight’s helmet.",
                           "A US 1 cent piece",
                           "Tux—the Linux mascot!",
                           "A ripe, red tomato",
                           "It's a cep, or they are two ceps?",
                           "A wheel with a great many words behind it",
                           "A",
                           ".",
                           "",
                           "   "}) {
    EXPECT_EQ(cleaned(line), "(refused)") << line;
  }
}

TEST(FindStamps, AppliesThePairingRules) {
  const StampFolder folder;
  folder.add("animals/tiger", "A tiger.\nde.utf8=Ein Tiger.\n");
  folder.add_picture("animals/without_text", {1, 2, 3});
  folder.add_text("animals/drawing", "A kitten.\n");
  folder.add_text("animals/drawing.svg", "");
  folder.add("animals/advice", "Feed your cat!\n");
  folder.add("food/cartoon/apple", "A red apple.\n");
  folder.add("food/fruit/apple", "A red apple.\n");
  folder.add("symbols/star", "A star.\n");
  folder.add("town/flags/red", "A red flag.\n");
  folder.add("military/tank", "A tank.\n");
  const auto stamps = find_stamps(folder.path());
  ASSERT_EQ(stamps.size(), 2U);
  EXPECT_EQ(stamps[0].name, "animals/tiger");
  EXPECT_EQ(stamps[0].caption, "a tiger");
  EXPECT_EQ(stamps[0].file, folder.path() / "animals/tiger.png");
  EXPECT_EQ(stamps[1].name, "food/fruit/apple") << "the photograph, not the cartoon";
}

TEST(FindStamps, MissingAndEmptyFoldersSayWhatToDo) {
  const StampFolder folder;
  EXPECT_USER_ERROR(find_stamps("/nowhere"),
                    "'/nowhere' does not exist: install the Debian package tuxpaint-stamps-default");
  EXPECT_USER_ERROR(find_stamps(folder.path()), "holds no picture with a caption");
}

TEST(ReadStampList, KeepsTheOrderAndTheGivenCaption) {
  const StampFolder folder;
  folder.add("a/one", "A tiger.");
  folder.add("b/two", "A very small pumpkin.");
  const auto list = folder.write_list({{{"name", "b/two"}, {"caption", "a pumpkin"}}, "a/one"});
  const auto stamps = read_stamp_list(list, folder.path());
  ASSERT_EQ(stamps.size(), 2U);
  EXPECT_EQ(stamps[0].caption, "a pumpkin");
  EXPECT_EQ(stamps[1].caption, "a tiger");
}

TEST(ReadStampList, EveryMistakeIsOneSentence) {
  const StampFolder folder;
  folder.add("bus", "A bus.");
  folder.add("big", "A bus stop sign.");
  folder.add("advice", "Drink water!");
  const auto read = [&](const nlohmann::json& list) { return read_stamp_list(folder.write_list(list), folder.path()); };
  EXPECT_USER_ERROR(read({"car"}), "names the stamp 'car', but there is no '");
  EXPECT_USER_ERROR(read({"advice"}), "'advice' has the caption 'Drink water!', which is no short noun phrase");
  EXPECT_USER_ERROR(read({"bus", "bus"}), "the caption 'a bus' of 'bus' is contained in 'a bus' of 'bus'");
  folder.add_text("big", "The front of a bus");
  EXPECT_USER_ERROR(read({"bus", "big"}), "'a bus' of 'bus' is contained in 'the front of a bus' of 'big': drop one");
  EXPECT_USER_ERROR(read({1}), "must list stamp names or {\"name\", \"caption\"}, found 1");
  EXPECT_USER_ERROR(read(nlohmann::json::object()), "must hold a JSON list of stamps");
  EXPECT_USER_ERROR(read_stamp_list(folder.path() / "list.json", "/nowhere"), "install the Debian package");
}

TEST(LoadStamp, CutsTheTransparentMarginAndShrinks) {
  const StampFolder folder;
  folder.add_picture("block", {200, 30, 40}, 10, 14);
  const auto whole = load_stamp({"block", "a block", folder.path() / "block.png"});
  EXPECT_EQ(whole.image.height, 10);
  EXPECT_EQ(whole.image.width, 14);
  const auto small = load_stamp({"block", "a block", folder.path() / "block.png"}, 7);
  EXPECT_EQ(small.image.height, 5);
  EXPECT_EQ(small.image.width, 7);
  EXPECT_EQ(small.caption, "a block");
  for (std::size_t i = 0; i < small.image.pixels.size(); i += 4) {
    EXPECT_EQ(small.image.pixels[i], 200);
    EXPECT_EQ(small.image.pixels[i + 1], 30);
    EXPECT_EQ(small.image.pixels[i + 3], 255);
  }
}

TEST(LoadStamp, AWhollyTransparentPictureIsRefused) {
  const StampFolder folder;
  folder.add_picture("nothing", {1, 1, 1}, 0, 0);
  EXPECT_USER_ERROR(load_stamp({"nothing", "a ghost", folder.path() / "nothing.png"}),
                    "nothing.png' is wholly transparent");
}

TEST(ResizeArea, TransparentPixelsDoNotBleedIn) {
  // Half opaque red, half transparent green: the average is half transparent red.
  const ImageRgba image{1, 2, {200, 0, 0, 255, 0, 250, 0, 0}};
  EXPECT_EQ(resize_area(image, 1, 1).pixels, (std::vector<std::uint8_t>{200, 0, 0, 128}));
  EXPECT_EQ(resize_area(image, 1, 2).pixels, (std::vector<std::uint8_t>{200, 0, 0, 255, 0, 0, 0, 0}));
}

TEST(DemoStamps, TheListIsSixtyFourDistinctNames) {
  const auto list = load_json(kList);
  ASSERT_EQ(list.size(), 64U);
  std::set<std::string> names;
  for (const auto& entry : list) names.insert((entry.is_string() ? entry : entry.at("name")).get<std::string>());
  EXPECT_EQ(names.size(), 64U);
}

// In addition, where the package is installed; the rules themselves are tested above without it.
TEST(DemoStamps, TheInstalledPackageHasThemAll) {
  if (!std::filesystem::is_directory(kPackage)) return;
  const auto stamps = read_stamp_list(kList, kPackage);
  ASSERT_EQ(stamps.size(), 64U);
  for (const auto& stamp : stamps) {
    EXPECT_TRUE(stamp.caption.starts_with("a ") || stamp.caption.starts_with("an ")) << stamp.caption;
    EXPECT_LE(std::count(stamp.caption.begin(), stamp.caption.end(), ' '), 3) << stamp.caption;
    EXPECT_GE(load_stamp(stamp).image.pixels.size(), 4U * 24 * 24) << stamp.name;
  }
  const auto all = find_stamps(kPackage);
  EXPECT_GT(all.size(), 300U);
  for (const auto& stamp : all) EXPECT_EQ(stamp.name.find("symbols/"), std::string::npos);
}

}  // namespace
}  // namespace blip2
