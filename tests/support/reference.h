// Comparing with reference tensors: max|a - b| relative to max|b| of the tensor, as the reference sets state
// tolerances.
#pragma once

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <filesystem>
#include <string>

#include "blip2/checkpoint/safetensors.h"

namespace blip2 {

inline std::filesystem::path test_data(const std::string& relative) {
  return std::filesystem::path(BLIP2_TEST_DATA) / relative;
}

inline void expect_close(const at::Tensor& actual, const at::Tensor& expected, double tolerance,
                         const std::string& name, double least_scale = 1e-12) {
  ASSERT_EQ(actual.sizes(), expected.sizes()) << name;
  const at::Tensor a = actual.detach().to(torch::kDouble), b = expected.to(torch::kDouble);
  const double scale = std::max(b.abs().max().item<double>(), least_scale);
  const double difference = (a - b).abs().max().item<double>() / scale;
  EXPECT_LE(difference, tolerance) << name << ": relative difference " << difference;
}

/** Fills every parameter of `module` by name; parameters that the tensors lack and shapes that differ are failures. */
inline void fill_parameters(torch::nn::Module& module, const NamedTensors& tensors, const std::string& prefix = "") {
  torch::NoGradGuard no_grad;
  for (auto& item : module.named_parameters()) {
    const auto found = tensors.find(prefix + item.key());
    ASSERT_NE(found, tensors.end()) << "the reference has no " << prefix + item.key();
    ASSERT_EQ(found->second.sizes(), item.value().sizes()) << item.key();
    item.value().copy_(found->second);
  }
}

/** A key bias adds the same to all scores of a row: its true gradient is 0, what is stored is rounding noise. */
inline bool has_zero_gradient(const std::string& name) {
  return name.find("attention.key.bias") != std::string::npos;
}

/** Compares `grad.NAME` of the reference with every parameter that has one; returns how many were compared. */
inline int expect_gradients(const torch::nn::Module& module, const NamedTensors& expected, double tolerance,
                            const std::string& prefix = "grad.") {
  double largest = 0;
  for (const auto& [name, tensor] : expected) {
    if (name.starts_with(prefix)) largest = std::max(largest, tensor.abs().max().item<double>());
  }
  int compared = 0;
  for (const auto& item : module.named_parameters()) {
    const auto found = expected.find(prefix + item.key());
    if (found == expected.end() || has_zero_gradient(item.key())) continue;
    EXPECT_TRUE(item.value().grad().defined()) << item.key();
    if (!item.value().grad().defined()) continue;
    expect_close(item.value().grad(), found->second, tolerance, prefix + item.key(), 1e-3 * largest);
    ++compared;
  }
  return compared;
}

}  // namespace blip2
