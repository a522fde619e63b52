// The program inspect: what it prints, and how it ends on files that are damaged or would like to be run.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "programs/run_program.h"

namespace blip2 {
namespace {

using testing::HasSubstr;

const std::string kReference = std::string(BLIP2_TEST_DATA) + "/checkpoint/";

TEST(ProgramInspect, PrintsTensorsAndTotals) {
  const Outcome outcome = run("inspect", {kReference + "torch_bad/ok_views.bin"});
  EXPECT_TRUE(succeeded(outcome));
  EXPECT_EQ(outcome.output,
            "t  float32 [6, 4]\nrow  float32 [6]\nevery_second  float32 [12]\n"
            "PyTorch: 3 tensors, 42 parameters, 168 bytes\n");
  EXPECT_EQ(outcome.error, "");
  const Outcome model = run("inspect", {std::string(BLIP2_TEST_DATA) + "/models/bert_tiny"});
  EXPECT_TRUE(succeeded(model));
  EXPECT_THAT(model.output, HasSubstr("bert.embeddings.word_embeddings.weight  float32 [40, 16]  model.safetensors\n"));
}

TEST(ProgramInspect, JsonIsOneObjectOnOneLine) {
  const Outcome outcome = run("inspect", {"--json", kReference + "torch_bad/ok_nested.bin"});
  EXPECT_TRUE(succeeded(outcome));
  ASSERT_EQ(lines_of(outcome.output).size(), 1U);
  const auto object = nlohmann::json::parse(outcome.output);
  EXPECT_EQ(object["tensors"], 2);
  EXPECT_EQ(object["entries"][0]["entries"][1]["name"], "b");
  EXPECT_EQ(object["entries"][1], (nlohmann::json{{"name", "epoch"}, {"value", 3}}));
}

TEST(ProgramInspect, ADamagedFileIsOneSentence) {
  for (const std::string name :
       {"safetensors_bad/data_short.safetensors", "safetensors_bad/shape_product_overflow.safetensors",
        "torch_bad/empty_file.bin", "torch_bad/legacy_truncated.bin", "torch_bad/pickle_garbage.bin",
        "torch_bad/size_huge.bin", "torch_bad/zip_truncated.bin"}) {
    EXPECT_TRUE(failed(run("inspect", {kReference + name}), 2, "inspect", name + "': ")) << name;
  }
  EXPECT_TRUE(failed(run("inspect", {kReference + "torch_bad/pickle_os_system.bin"}), 2, "inspect",
                     "its pickle names 'os.system'"));
  EXPECT_TRUE(failed(run("inspect", {"none.pth"}), 2, "inspect", "cannot open 'none.pth': no such file"));
  EXPECT_TRUE(failed(run("inspect", {}), 2, "inspect", "path is required"));
}

}  // namespace
}  // namespace blip2
