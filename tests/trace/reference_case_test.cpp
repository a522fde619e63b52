// What `trace` writes for the reference cases, judged tensor by tensor: small copies always, the whole set where it is
// at hand.
#include "blip2/trace/reference_case.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "blip2/core/config.h"
#include "support/expect_error.h"
#include "support/reference.h"
#include "support/temporary_folder.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct Tolerances {
  double values = 2e-5, gradients = 2e-5;
};

/** Rows that were padding in the question mean nothing. */
at::Tensor meaningful(const std::string& name, const at::Tensor& tensor, const NamedTensors& inputs) {
  if (name.rfind("forward.", 0) != 0 || tensor.dim() != 3) return tensor;
  const auto mask = inputs.find(name.substr(0, name.find('.', 8) + 1) + "attention_mask");
  if (mask == inputs.end() || mask->second.size(1) != tensor.size(1)) return tensor;
  return tensor.index({mask->second.to(at::kBool)});
}

void expect_tensor(const std::string& name, const at::Tensor& actual, const at::Tensor& expected,
                   const Tolerances& tolerances, double largest_gradient) {
  if (has_zero_gradient(name) || name.find("k_proj.bias") != std::string::npos) return;
  const bool gradient = name.rfind("grad.", 0) == 0;
  ASSERT_TRUE(torch::equal(actual.isfinite(), expected.isfinite())) << name;
  expect_close(actual.nan_to_num(0, 0, 0), expected.nan_to_num(0, 0, 0),
               gradient ? tolerances.gradients : tolerances.values, name, gradient ? largest_gradient : 1e-12);
}

/** Compares every tensor that is expected -> how many. */
int expect_tensors(const fs::path& folder, const fs::path& output, const Tolerances& tolerances) {
  const NamedTensors inputs = load_safetensors(folder / "inputs.safetensors");
  const NamedTensors actual = load_safetensors(output / "actual.safetensors");
  const NamedTensors expected = load_safetensors(folder / "expected.safetensors");
  double largest_gradient = 0;
  for (const auto& [name, tensor] : expected) {
    if (name.rfind("grad.", 0) == 0) largest_gradient = std::max(largest_gradient, tensor.abs().max().item<double>());
  }
  for (const auto& [name, tensor] : expected) {
    const auto found = actual.find(name);
    EXPECT_NE(found, actual.end()) << name << " is missing";
    if (found == actual.end()) continue;
    expect_tensor(name, meaningful(name, found->second, inputs), meaningful(name, tensor, inputs), tolerances,
                  largest_gradient);
  }
  return static_cast<int>(expected.size());
}

/** Everything in `actual` that `expected` also names is equal; numbers with a point to `tolerance` -> leaves compared.
 */
int expect_json(const json& actual, const json& expected, double tolerance, const std::string& where) {
  int compared = 0;
  if (actual.is_object()) {
    for (const auto& [key, value] : actual.items()) {
      if (expected.contains(key)) compared += expect_json(value, expected[key], tolerance, where + "." + key);
    }
  } else if (actual.is_array()) {
    EXPECT_EQ(actual.size(), expected.size()) << where;
    for (std::size_t i = 0; i < actual.size() && i < expected.size(); ++i) {
      compared += expect_json(actual[i], expected[i], tolerance, where + "[" + std::to_string(i) + "]");
    }
  } else if (actual.is_number_float()) {
    const auto value = expected.get<double>();
    EXPECT_NEAR(actual.get<double>(), value, tolerance * std::abs(value)) << where;
    ++compared;
  } else {
    EXPECT_EQ(actual, expected) << where;
    ++compared;
  }
  return compared;
}

struct Compared {
  int tensors = 0, leaves = 0;
};

Compared expect_case(const fs::path& folder, const Tolerances& tolerances, bool double_precision = false) {
  SCOPED_TRACE(folder.string());
  const TemporaryFolder output;
  run_reference_case(folder, output.path() / "out", {double_precision});
  Compared compared;
  compared.tensors = expect_tensors(folder, output.path() / "out", tolerances);
  compared.leaves = expect_json(load_json(output.path() / "out" / "actual.json"), load_json(folder / "expected.json"),
                                tolerances.values, "");
  return compared;
}

TEST(ReferenceCase, GenerativeModelComputesWhatIsExpected) {
  const Compared compared = expect_case(test_data("cases/opt_sharded_bf16"), {});
  EXPECT_EQ(compared.tensors, 8);
  EXPECT_EQ(compared.leaves, 2 + 59 + 4);  // options, new tokens and texts
}

TEST(ReferenceCase, RetrievalModelComputesWhatIsExpected) {
  EXPECT_EQ(expect_case(test_data("cases/itm_tiny"), {}).tensors, 8);
}

TEST(ReferenceCase, DoublePrecisionIsAsExactAsWhatIsStored) {
  const Tolerances stored_as_float{2e-7, 2e-7};
  expect_case(test_data("cases/itm_tiny"), stored_as_float, /*double_precision=*/true);
}

TEST(ReferenceCase, WholeSetComputesWhatIsExpectedWhereItIsAtHand) {
  const fs::path set = fs::path(BLIP2_SHARED_DATA) / "fixtures/huggingface";
  if (!fs::exists(set)) return;
  for (const char* name : {"opt_tiny", "opt_sharded_bf16", "itm_tiny", "itm_image_token", "vision_interpolated"}) {
    EXPECT_GT(expect_case(set / name, {}).tensors, 20);
  }
  const Tolerances unscaled_attention{2e-4, 2e-4};
  for (const char* name : {"t5_tiny", "t5_relu_tied"})
    EXPECT_GT(expect_case(set / name, unscaled_attention).tensors, 20);
}

TEST(ReferenceCase, RefusesWhatIsNoCase) {
  const TemporaryFolder folder;
  EXPECT_USER_ERROR(run_reference_case(folder.path(), folder.path() / "out", {}), "inputs.safetensors");
  EXPECT_FALSE(fs::exists(folder.path() / "out"));
}

}  // namespace
}  // namespace blip2
