// The reference cases of LAVIS through `trace`, in double: small copies always, the whole set where it is at hand.
#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "support/expect_error.h"
#include "trace/expect_case.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr Tolerances kStoredAsFloat{1e-6, 1e-6};

Compared expect_lavis(const fs::path& folder, const Tolerances& tolerances = kStoredAsFloat) {
  return expect_case(folder, tolerances, /*double_precision=*/true);
}

json answers_of(const fs::path& folder) {
  const TemporaryFolder output;
  run_reference_case(folder, output.path() / "out", {});
  return load_json(output.path() / "out" / "actual.json");
}

/** [weight_decay, lr_scale] -> names; the reference's order is that of its loops. */
std::map<std::pair<double, std::int64_t>, std::set<std::string>> groups_of(const json& groups) {
  std::map<std::pair<double, std::int64_t>, std::set<std::string>> result;
  for (const json& group : groups) {
    const auto scale = std::llround(group.at("lr_scale").get<double>() * 1e12);
    for (const auto& name : group.at("params")) result[{group.at("weight_decay"), scale}].insert(name);
  }
  return result;
}

TEST(LavisCase, TwelveStepsOfOptimizationEndWithItsWeights) {
  const Compared compared = expect_lavis(test_data("lavis_cases/stage1_train"));
  EXPECT_EQ(compared.tensors, 153);  // losses, rates, moments and parameters after six steps, 127 final weights
  EXPECT_EQ(compared.leaves, 12);    // rates
}

TEST(LavisCase, AccumulatedStepsEndWithItsWeights) {
  EXPECT_EQ(expect_lavis(test_data("lavis_cases/stage1_train_accum2")).tensors, 153);
}

TEST(LavisCase, TwelveStepsInFloatStayWithinTheReferenceTolerance) {
  const Tolerances float32{1e-3, 1e-3};  // final weights 3e-4 absolute, of 0.3 at most and more
  expect_case(test_data("lavis_cases/stage1_train"), float32, /*double_precision=*/false);
}

TEST(LavisCase, FeaturesAndMatchingAreItsOwn) {
  EXPECT_EQ(expect_lavis(test_data("lavis_cases/stage1_features")).tensors, 8);
}

TEST(LavisCase, QFormerWritesItsCaptions) {
  const Compared compared = expect_lavis(test_data("lavis_cases/stage1_captioner"));
  EXPECT_EQ(compared.tensors, 10);
  EXPECT_GT(compared.leaves, 5 * (1 + 8 + 8 * 7));  // of five runs name, strings, sequences
}

TEST(LavisCase, RetrievalRanksAsItDoes) {
  const Compared compared = expect_lavis(test_data("lavis_cases/stage1_retrieval"));
  EXPECT_EQ(compared.tensors, 4);
  EXPECT_EQ(compared.leaves, 3 * 10);  // recalls
}

TEST(LavisCase, OptimizerGroupsHoldItsParameters) {
  const fs::path folder = test_data("lavis_cases/optimizer_groups");
  const json actual = answers_of(folder), expected = load_json(folder / "expected.json");
  for (const char* name : {"freeze_vit=False lr_layer_decay=0.95", "freeze_vit=False lr_layer_decay=0.9",
                           "freeze_vit=True lr_layer_decay=1"}) {
    EXPECT_EQ(groups_of(actual.at(name)), groups_of(expected.at(name))) << name;
  }
  EXPECT_EQ(actual.at("vit number of layers"), expected.at("vit number of layers"));
  std::size_t compared = 0;
  for (const auto& [name, layer] : expected.at("vit layer id").items()) {
    if (!actual.at("vit layer id").contains(name)) continue;  // names that no parameter has
    EXPECT_EQ(actual["vit layer id"][name], layer) << name;
    ++compared;
  }
  EXPECT_EQ(compared, actual.at("vit layer id").size());
}

TEST(LavisCase, SchedulesAreEqualToTheLastBit) {
  const fs::path folder = test_data("lavis_cases/lr_schedules");
  EXPECT_EQ(answers_of(folder), load_json(folder / "expected.json"));
}

TEST(LavisCase, WholeSetComputesWhatIsExpectedWhereItIsAtHand) {
  const fs::path set = fs::path(BLIP2_SHARED_DATA) / "fixtures/lavis";
  if (!fs::exists(set)) GTEST_SKIP() << "the other tests run copies; those of tests/models cover most of the rest";
  EXPECT_EQ(expect_lavis(set / "stage1_forward").tensors, 155);
  EXPECT_EQ(expect_lavis(set / "stage1_forward_image_id").tensors, 199);
  EXPECT_EQ(expect_lavis(set / "stage1_masks").tensors, 11);
  EXPECT_EQ(expect_lavis(set / "stage1_two_rank").tensors, 415);
  for (const char* name : {"stage2_opt_empty_prompt", "stage2_opt_prompt", "stage2_t5"}) {
    const Compared compared = expect_lavis(set / name);
    EXPECT_GE(compared.tensors, 99);
    EXPECT_GT(compared.leaves, 90);  // ids of the answers
  }
  EXPECT_EQ(expect_lavis(set / "clip_vit").tensors, 5);
  EXPECT_EQ(expect_lavis(set / "randaugment", {0, 0}).tensors, 43);
  EXPECT_EQ(expect_lavis(set / "image_transforms", {0.03, 0}).tensors, 24);  // a grey level where Pillow 13 differs
  const json texts = answers_of(set / "text_processors");
  EXPECT_EQ(texts.at("rows"), load_json(set / "text_processors" / "expected.json").at("rows"));
  const TemporaryFolder output;
  run_reference_case(set / "pos_embed", output.path() / "out", {});
  EXPECT_EQ(expect_tensors(set / "pos_embed", output.path() / "out", {1e-5, 0}), 8);
}

TEST(LavisCase, NamesWhatACaseLacks) {
  const TemporaryFolder folder;
  const fs::path lone = folder.path() / "lone";
  fs::copy(test_data("lavis_cases/stage1_features"), lone);
  EXPECT_USER_ERROR(run_reference_case(lone, folder.path() / "out", {}),
                    "needs the folder 'stage1_trained' beside it, which is not there");
  fs::copy(test_data("lavis_cases/stage1_trained"), folder.path() / "stage1_trained");
  save_safetensors({{"image", torch::zeros({1, 3, 56, 56})}}, lone / "inputs.safetensors");
  EXPECT_USER_ERROR(run_reference_case(lone, folder.path() / "out", {}),
                    "the case's inputs.safetensors holds no tensor 'input_ids'");
}

}  // namespace
}  // namespace blip2
