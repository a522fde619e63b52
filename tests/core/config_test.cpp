#include "blip2/core/config.h"

#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include <fstream>
#include <new>

#include "blip2/core/error.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace blip2 {
namespace {

struct InnerOptions {
  std::int64_t hidden_size = 8;
  double dropout = 0.1;
};
struct OuterOptions {
  std::string name = "none";
  bool frozen = true;
  std::vector<double> betas = {0.9, 0.999};
  std::optional<std::int64_t> image_token_index;
  InnerOptions vision_config;
};
void visit_fields(FieldVisitor& visitor, InnerOptions& options) {
  visitor.field("hidden_size", options.hidden_size);
  visitor.field("dropout", options.dropout);
}
void visit_fields(FieldVisitor& visitor, OuterOptions& options) {
  visitor.field("name", options.name);
  visitor.field("frozen", options.frozen);
  visitor.field("betas", options.betas);
  visitor.field("image_token_index", options.image_token_index);
  visitor.nested("vision_config", options.vision_config);
}

OuterOptions read(const std::string& text, UnknownKeys unknown = UnknownKeys::kRefuse) {
  OuterOptions options;
  read_config(nlohmann::json::parse(text), options, "run.json", unknown);
  return options;
}

TEST(Config, MissingKeysKeepTheirDefaults) {
  const OuterOptions options = read(R"({"vision_config": {"hidden_size": 16}})");
  EXPECT_EQ(options.vision_config.hidden_size, 16);
  EXPECT_DOUBLE_EQ(options.vision_config.dropout, 0.1);
  EXPECT_EQ(options.name, "none");
}

TEST(Config, WrittenConfigReadsBackEqual) {
  OuterOptions options;
  options.name = "x";
  options.image_token_index = 7;
  options.betas = {0.5};
  options.vision_config.hidden_size = 3;
  const nlohmann::json written = write_config(options);
  const OuterOptions again = read(written.dump());
  EXPECT_EQ(write_config(again), written);
  EXPECT_EQ(again.image_token_index, 7);
}

TEST(Config, NullIsAnEmptyOptional) {
  EXPECT_FALSE(read(R"({"image_token_index": null})").image_token_index.has_value());
}

TEST(Config, UnknownKeyNamesTheNearestKnownOne) {
  EXPECT_USER_ERROR(read(R"({"vision_config": {"hiden_size": 1}})"),
                    "'run.json': unknown key 'vision_config.hiden_size', did you mean 'vision_config.hidden_size'?");
}

TEST(Config, UnknownKeyFarFromAllNamesNone) {
  EXPECT_USER_ERROR(read(R"({"zzzzzzzzzz": 1})"), "'run.json': unknown key 'zzzzzzzzzz'");
}

TEST(Config, UnknownKeysCanBeIgnored) {
  EXPECT_EQ(read(R"({"zzz": 1, "name": "a"})", UnknownKeys::kIgnore).name, "a");
}

TEST(Config, WrongTypesAreNamedWithTheValueFound) {
  EXPECT_USER_ERROR(read(R"({"vision_config": {"hidden_size": "big"}})"),
                    "'run.json': 'vision_config.hidden_size' must be an integer, found \"big\"");
  EXPECT_USER_ERROR(read(R"({"vision_config": {"hidden_size": 1.5}})"), "must be an integer, found 1.5");
  EXPECT_USER_ERROR(read(R"({"frozen": 1})"), "'frozen' must be true or false, found 1");
  EXPECT_USER_ERROR(read(R"({"betas": [1, "x"]})"), "'betas' must be a list of numbers");
  EXPECT_USER_ERROR(read(R"({"vision_config": 3})"), "'vision_config' must be a section {...}, found 3");
  EXPECT_USER_ERROR(read(R"([1])"), "'run.json' must hold a JSON object, found array");
}

TEST(Config, OverridesReachNestedValues) {
  nlohmann::json config = nlohmann::json::parse(R"({"vision_config": {"hidden_size": 1}})");
  apply_override(config, "vision_config.hidden_size=5");
  apply_override(config, "name=a photo of");
  apply_override(config, "betas=[0.1,0.2]");
  const OuterOptions options = read(config.dump());
  EXPECT_EQ(options.vision_config.hidden_size, 5);
  EXPECT_EQ(options.name, "a photo of");
  EXPECT_EQ(options.betas, (std::vector<double>{0.1, 0.2}));
}

TEST(Config, MalformedOverridesAreRefused) {
  nlohmann::json config = nlohmann::json::parse(R"({"name": "x"})");
  EXPECT_USER_ERROR(apply_override(config, "novalue"), "override 'novalue' is not of the form a.b.c=value");
  EXPECT_USER_ERROR(apply_override(config, "name.first=1"), "'name' is a value, not a section");
  EXPECT_USER_ERROR(apply_override(config, "a..b=1"), "has an empty key");
}

TEST(Config, MissingAndBrokenFilesAreOneSentence) {
  const TemporaryFolder folder;
  EXPECT_USER_ERROR(load_json(folder.path() / "none.json"), "none.json': no such file");
  std::ofstream(folder.path() / "bad.json") << "{\"a\": \n }";
  EXPECT_USER_ERROR(load_json(folder.path() / "bad.json"), "bad.json' is not JSON: parse error at line 2, column 2");
}

TEST(Config, NestingAndNumbersAreBounded) {
  const TemporaryFolder folder;
  const auto load = [&](const std::string& text) {
    std::ofstream(folder.path() / "odd.json") << text;
    return load_json(folder.path() / "odd.json");
  };
  const auto nested = [](std::size_t levels) { return std::string(levels, '[') + std::string(levels, ']'); };
  EXPECT_TRUE(load(nested(100)).is_array());
  EXPECT_USER_ERROR(load(nested(101)), "odd.json' is nested more than 100 levels deep");
  EXPECT_USER_ERROR(load(std::string(1'000'000, '[')), "odd.json' is nested more than 100 levels deep");
  EXPECT_USER_ERROR(load(R"({"steps": 1e999})"), "odd.json' is not JSON: number overflow parsing '1e999'");
}

TEST(NearestName, PrefersTheSmallestEditDistance) {
  EXPECT_EQ(nearest_name("learning_rte", {"warmup_steps", "learning_rate"}), "learning_rate");
  EXPECT_EQ(nearest_name("q", {"completely_different"}), "");
}

TEST(RunProgram, ExitCodesTellUserFromWorld) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(run_program("caption", [] { return 0; }), 0);
  EXPECT_EQ(run_program("caption", []() -> int { throw UserError("no such picture"); }), 2);
  EXPECT_EQ(run_program("caption", []() -> int { throw WorldError("disk full"); }), 1);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "caption: no such picture\ncaption: disk full\n");
}

TEST(RunProgram, MemoryThatIsNotThereIsASentence) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(run_program("caption", []() -> int { throw std::bad_alloc(); }), 1);
  // Ends the process where SentencePiece's flags lie over LibTorch's: see the link order in src/CMakeLists.txt.
  EXPECT_EQ(run_program("caption",
                        [] {
                          at::empty({std::int64_t{1} << 50});
                          return 0;
                        }),
            1);
  const std::string sentence = "caption: out of memory: try a smaller batch or model\n";
  EXPECT_EQ(testing::internal::GetCapturedStderr(), sentence + sentence);
}

}  // namespace
}  // namespace blip2
