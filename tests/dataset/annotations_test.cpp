#include "blip2/data/annotations.h"

#include <fstream>

#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace blip2 {
namespace {

using ::testing::ElementsAre;

class Annotations : public ::testing::Test {
 protected:
  std::filesystem::path write(const std::string& text) {
    const auto file = folder_.path() / "list.json";
    std::ofstream(file, std::ios::binary) << text;
    return file;
  }

  TemporaryFolder folder_;
};

TEST_F(Annotations, AreReadFromAListAndFromLinesAlike) {
  const std::string first = R"({"image": "a/1.jpg", "caption": "a cat", "image_id": 7, "dataset": "x"})";
  const std::string second =
      R"({"image": "2.jpg", "caption": ["a dog", "ein Hund"], "image_id": 9, "objects": ["dog"]})";
  for (const auto& text : {"[" + first + ",\n" + second + "]", "\n" + first + "\r\n\n" + second + "\n"}) {
    const auto annotations = load_annotations(write(text));
    ASSERT_EQ(annotations.size(), 2u);
    EXPECT_EQ(annotations[0].image, folder_.path() / "a/1.jpg");
    EXPECT_THAT(annotations[0].captions, ElementsAre("a cat"));
    EXPECT_EQ(annotations[0].image_id, 7);
    EXPECT_THAT(annotations[0].objects, ElementsAre());
    EXPECT_THAT(annotations[1].captions, ElementsAre("a dog", "ein Hund"));
    EXPECT_EQ(annotations[1].image_id, 9);
    EXPECT_THAT(annotations[1].objects, ElementsAre("dog"));
  }
}

TEST_F(Annotations, FindPicturesBelowAnotherFolderWhenTold) {
  const auto file = write(R"([{"image": "1.jpg", "caption": "x"}])");
  EXPECT_EQ(load_annotations(file, "/pictures")[0].image, "/pictures/1.jpg");
}

TEST_F(Annotations, AreNumberedByPictureWhereIdsAreMissingOrText) {
  auto annotations = load_annotations(write(
      R"([{"image": "1.jpg", "caption": "x"}, {"image": "2.jpg", "caption": "x"}, {"image": "1.jpg", "caption": "y"}])"));
  EXPECT_EQ(annotations[0].image_id, 0);
  EXPECT_EQ(annotations[1].image_id, 1);
  EXPECT_EQ(annotations[2].image_id, 0);
  annotations = load_annotations(write(
      R"([{"image": "1.jpg", "caption": "x", "image_id": "coco_5"}, {"image": "2.jpg", "caption": "x", "image_id": 5},
          {"image": "3.jpg", "caption": "x", "image_id": "coco_5"}, {"image": "coco_5", "caption": "x"}])"));
  EXPECT_EQ(annotations[0].image_id, 0);
  EXPECT_EQ(annotations[1].image_id, 1);
  EXPECT_EQ(annotations[2].image_id, 0);
  EXPECT_EQ(annotations[3].image_id, 2);
}

TEST_F(Annotations, GiveOnePairPerCaption) {
  const auto pairs = caption_pairs(
      load_annotations(write(R"([{"image": "1", "caption": ["a", "b"]}, {"image": "2", "caption": "c"}])")));
  ASSERT_EQ(pairs.size(), 3u);
  EXPECT_EQ(pairs[1].annotation, 0);
  EXPECT_EQ(pairs[1].caption, 1);
  EXPECT_EQ(pairs[2].annotation, 1);
  EXPECT_EQ(pairs[2].caption, 0);
}

TEST_F(Annotations, NameTheRecordThatIsWrong) {
  const auto refuse = [&](const std::string& text, const std::string& sentence) {
    EXPECT_USER_ERROR(load_annotations(write(text)), sentence);
  };
  const std::string good = R"({"image": "1.jpg", "caption": "x"})";
  refuse("[" + good + R"(, {"image": "2.jpg"}])", "list.json', record 1: 'caption' is missing");
  refuse(good + "\n" + R"({"caption": "x"})", "list.json', line 2: 'image' is missing");
  refuse("[" + good + ", 5]", "record 1: must be an object {\"image\", \"caption\"}, found 5");
  refuse("[" + good + ", [" + good + "]]", "record 1: must be an object");
  refuse(R"([{"image": 3, "caption": "x"}])", "record 0: 'image' must be a string, found 3");
  refuse(R"([{"image": "", "caption": "x"}])", "record 0: 'image' must be a path");
  refuse(R"([{"image": "1", "caption": []}])", "record 0: 'caption' is an empty list");
  refuse(R"([{"image": "1", "caption": ["x", null]}])", "record 0: 'caption' must be a string, found null");
  refuse(R"([{"image": "1", "caption": "x", "image_id": 1.5}])",
         "record 0: 'image_id' must be an integer or a string, found 1.5");
  refuse(R"([{"image": "1", "caption": "x", "image_id": 18446744073709551615}])", "'image_id' is too large");
  refuse("[" + good + ", {\"image\": ", "record 1: not JSON: parse error at line 1");
  refuse(good + "\n{\"image\n", "line 2: not JSON: parse error");
  refuse(R"([{"image": "1", "caption": ")" + std::string(70'000, 'x') + "\"}]",
         "record 0: 'caption' has 70000 bytes, more than 65536");
  const std::string deep = R"({"image": "1.jpg", "caption": "x", "more": )" + std::string(200, '[');
  refuse("[" + good + ", " + deep, "list.json', record 1: nested more than 100 levels deep");
  refuse(good + "\n" + deep, "list.json', line 2: nested more than 100 levels deep");
  const std::string large = R"({"image": "1.jpg", "caption": "x", "image_id": 1e999})";
  refuse("[" + good + ", " + large + "]", "record 1: not JSON: number overflow parsing '1e999'");
  refuse(good + "\n" + large, "line 2: not JSON: number overflow parsing '1e999'");
  refuse("[]", "list.json' holds no record");
  refuse("image,caption\n", "list.json' must begin with [ (a JSON list) or { (JSON lines)");
  EXPECT_USER_ERROR(load_annotations(folder_.path() / "absent.json"), "absent.json': no such file");
}

}  // namespace
}  // namespace blip2
