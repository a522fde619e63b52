// Judges what `trace` wrote for a reference case, tensor by tensor and answer by answer.
#pragma once

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "blip2/core/config.h"
#include "blip2/trace/reference_case.h"
#include "support/reference.h"
#include "support/temporary_folder.h"

namespace blip2 {

struct Tolerances {
  double values = 2e-5, gradients = 2e-5;
};

/** Rows that were padding in the question mean nothing. */
inline at::Tensor meaningful(const std::string& name, const at::Tensor& tensor, const NamedTensors& inputs) {
  if (!name.starts_with("forward.") || tensor.dim() != 3) return tensor;
  const auto mask = inputs.find(name.substr(0, name.find('.', 8) + 1) + "attention_mask");
  if (mask == inputs.end() || mask->second.size(1) != tensor.size(1)) return tensor;
  return tensor.index({mask->second.to(at::kBool)});
}

inline void expect_tensor(const std::string& name, const at::Tensor& actual, const at::Tensor& expected,
                          const Tolerances& tolerances, double largest_gradient) {
  for (const char* key_bias : {"attention.key.bias", "self.key.bias", "k_proj.bias"}) {
    if (name.find(key_bias) != std::string::npos) return;  // true gradient 0: rounding noise, which Adam amplifies
  }
  const bool gradient = name.find("grad.") != std::string::npos;
  ASSERT_TRUE(torch::equal(actual.isfinite(), expected.isfinite())) << name;
  expect_close(actual.nan_to_num(0, 0, 0), expected.nan_to_num(0, 0, 0),
               gradient ? tolerances.gradients : tolerances.values, name, gradient ? largest_gradient : 1e-12);
}

/** Compares every tensor that is expected -> how many. */
inline int expect_tensors(const std::filesystem::path& folder, const std::filesystem::path& output,
                          const Tolerances& tolerances) {
  NamedTensors inputs;
  if (std::filesystem::exists(folder / "inputs.safetensors")) inputs = load_safetensors(folder / "inputs.safetensors");
  const NamedTensors actual = load_safetensors(output / "actual.safetensors");
  const NamedTensors expected = load_safetensors(folder / "expected.safetensors");
  double largest_gradient = 0;
  for (const auto& [name, tensor] : expected) {
    if (name.find("grad.") != std::string::npos)
      largest_gradient = std::max(largest_gradient, tensor.abs().max().item<double>());
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
inline int expect_json(const nlohmann::json& actual, const nlohmann::json& expected, double tolerance,
                       const std::string& where) {
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

inline Compared expect_case(const std::filesystem::path& folder, const Tolerances& tolerances,
                            bool double_precision = false) {
  SCOPED_TRACE(folder.string());
  const TemporaryFolder output;
  run_reference_case(folder, output.path() / "out", {double_precision});
  Compared compared;
  compared.tensors = expect_tensors(folder, output.path() / "out", tolerances);
  compared.leaves = expect_json(load_json(output.path() / "out" / "actual.json"), load_json(folder / "expected.json"),
                                tolerances.values, "");
  return compared;
}

}  // namespace blip2
