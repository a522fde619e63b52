// Weights rounded to int8 and int4: the rounding itself, the product of what is left, and its equality in every
// variant.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

#include "blip2/nn/linear.h"
#include "nn/linear_kernels.h"

namespace blip2 {
namespace {

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

TEST(IntegerWeights, Int8RoundsTheWeightAndNothingElse) {
  torch::manual_seed(5);
  const torch::NoGradGuard no_grad;
  Linear layer(100, 37);
  const at::Tensor weight = layer->weight.clone(), x = torch::randn({9, 100}) * 3;
  const at::Tensor scale = weight.abs().amax(1, true) / 127;
  const at::Tensor rounded = (weight / scale).round() * scale;
  layer->quantize();
  EXPECT_EQ(layer->weight.scalar_type(), at::kChar);
  EXPECT_EQ(layer->weight.sizes(), at::IntArrayRef({37, 128}));
  const at::Tensor y = layer->forward(x), expected = at::linear(x, rounded, layer->bias);
  EXPECT_LT(largest_difference(y, expected), 1e-3 * expected.abs().max().item<double>());
  EXPECT_GT(largest_difference(y, at::linear(x, weight, layer->bias)), 1e-4);
  for (std::int64_t row = 0; row < 9; ++row) EXPECT_TRUE(torch::equal(layer->forward(x[row]), y[row])) << row;
}

TEST(IntegerWeights, Int8IsTheSameInEveryVariant) {
  torch::manual_seed(6);
  const at::Tensor x = torch::randn({5, 150}), weight = torch::randn({11, 150});
  std::vector<at::Tensor> results;
  for (int v = 0; linear_kernel_variant(v) != nullptr; ++v) {
    const LinearKernels& kernels = *linear_kernel_variant(v);
    const std::int64_t in = 192;
    const at::Tensor rounded = at::empty({11, in}, at::kChar), scale = at::empty({11}), x_scale = at::empty({5});
    const at::Tensor parts = at::empty({10, in}, at::kChar), sums = at::empty({10}, at::kInt), y = at::empty({5, 11});
    for (std::int64_t r = 0; r < 11; ++r) {
      scale.data_ptr<float>()[r] = kernels.round_row_int8(weight.const_data_ptr<float>() + r * 150, 150, in,
                                                          rounded.data_ptr<std::int8_t>() + r * in);
    }
    for (std::int64_t r = 0; r < 5; ++r) {
      x_scale.data_ptr<float>()[r] =
          kernels.quantize_row(x.const_data_ptr<float>() + r * 150, 150, in, parts.data_ptr<std::int8_t>() + 2 * r * in,
                               sums.data_ptr<std::int32_t>() + 2 * r);
    }
    LinearTask task;
    task.weight = rounded.const_data_ptr();
    task.weight_scale = scale.const_data_ptr<float>();
    task.in = in;
    task.end = 11;
    task.rows = 5;
    task.parts = parts.const_data_ptr<std::int8_t>();
    task.part_sums = sums.const_data_ptr<std::int32_t>();
    task.x_scale = x_scale.const_data_ptr<float>();
    task.y = y.data_ptr<float>();
    task.y_stride = 11;
    kernels.from_int8(task);
    results.push_back(y);
    EXPECT_TRUE(torch::equal(y, results.front())) << kernels.name;
    EXPECT_LT(largest_difference(y, at::linear(x, weight)), 0.5) << kernels.name;
  }
}

TEST(IntegerWeights, Int8KeepsWhatIsNoNumberInItsRow) {
  const torch::NoGradGuard no_grad;
  Linear layer(64, 4);
  layer->quantize();
  at::Tensor x = torch::ones({3, 64});
  x[1][7] = std::nan("");
  const at::Tensor y = layer->forward(x);
  EXPECT_TRUE(y[1].isnan().all().item<bool>());
  EXPECT_TRUE(y[0].isfinite().all().item<bool>());
  EXPECT_TRUE(torch::equal(y[0], y[2]));
  EXPECT_TRUE(torch::equal(layer->forward(torch::zeros({1, 64}))[0], layer->bias));
}

/** An int4 weight as the kernels of a variant leave it, and what it stands for. */
struct Int4 {
  at::Tensor packed, scale, values;
};

Int4 round_int4(const LinearKernels& kernels, const at::Tensor& weight) {
  const std::int64_t out = weight.size(0), count = weight.size(1), in = (count + 63) / 64 * 64;
  Int4 rounded{at::empty({out, in / 2}, at::kByte), at::empty({out, in / 32}, at::kBFloat16), {}};
  for (std::int64_t r = 0; r < out; ++r) {
    kernels.round_row_int4(weight.const_data_ptr<float>() + r * count, count, in,
                           rounded.packed.data_ptr<std::uint8_t>() + r * in / 2,
                           reinterpret_cast<std::uint16_t*>(rounded.scale.data_ptr<at::BFloat16>()) + r * in / 32);
  }
  const at::Tensor bytes = rounded.packed.view({out, in / 64, 32}).to(at::kInt);
  const at::Tensor halves = torch::stack({bytes.bitwise_and(15), bytes.bitwise_right_shift(4)}, 2) - 8;
  rounded.values = (halves.view({out, in / 32, 32}) * rounded.scale.to(at::kFloat).unsqueeze(2)).view({out, in});
  return rounded;
}

at::Tensor int4_product(const LinearKernels& kernels, const at::Tensor& x, const Int4& weight) {
  const std::int64_t rows = x.size(0), in = weight.values.size(1), out = weight.values.size(0);
  const at::Tensor parts = at::empty({2 * rows, in}, at::kChar), sums = at::empty({2 * rows}, at::kInt);
  const at::Tensor group_sums = at::empty({rows, in / 32}), x_scale = at::empty({rows}), y = at::empty({rows, out});
  for (std::int64_t r = 0; r < rows; ++r) {
    x_scale.data_ptr<float>()[r] =
        kernels.quantize_row(x.const_data_ptr<float>() + r * x.size(1), x.size(1), in,
                             parts.data_ptr<std::int8_t>() + 2 * r * in, sums.data_ptr<std::int32_t>() + 2 * r);
    kernels.sum_groups(parts.const_data_ptr<std::int8_t>() + 2 * r * in, in,
                       group_sums.data_ptr<float>() + r * in / 32);
  }
  LinearTask task;
  task.weight = weight.packed.const_data_ptr();
  task.group_scale = reinterpret_cast<const std::uint16_t*>(weight.scale.const_data_ptr<at::BFloat16>());
  task.in = in;
  task.end = out;
  task.rows = rows;
  task.parts = parts.const_data_ptr<std::int8_t>();
  task.group_sums = group_sums.const_data_ptr<float>();
  task.x_scale = x_scale.const_data_ptr<float>();
  task.y = y.data_ptr<float>();
  task.y_stride = out;
  kernels.from_int4(task);
  return y;
}

TEST(IntegerWeights, Int4IsTheSameWeightInEveryVariantAndItsProductIsRight) {
  torch::manual_seed(8);
  for (const auto& [rows, count, out] :
       std::vector<std::array<std::int64_t, 3>>{{1, 1, 1}, {1, 64, 8}, {2, 31, 5}, {5, 150, 11}, {7, 1100, 3}}) {
    const at::Tensor x = torch::randn({rows, count}), weight = torch::randn({out, count});
    const at::Tensor wide_x = at::constant_pad_nd(x, {0, (64 - count % 64) % 64});
    const Int4 first = round_int4(*linear_kernel_variant(0), weight);
    for (int v = 0; linear_kernel_variant(v) != nullptr; ++v) {
      const LinearKernels& kernels = *linear_kernel_variant(v);
      const Int4 rounded = round_int4(kernels, weight);
      EXPECT_TRUE(torch::equal(rounded.packed, first.packed)) << kernels.name;
      EXPECT_TRUE(torch::equal(rounded.scale, first.scale)) << kernels.name;
      const at::Tensor expected = at::linear(wide_x.to(at::kDouble), rounded.values.to(at::kDouble));
      const double scale = std::sqrt(static_cast<double>(count));
      EXPECT_LT(largest_difference(int4_product(kernels, x, rounded), expected), 3e-4 * scale)
          << kernels.name << " " << rows << "x" << count << "->" << out;
    }
  }
}

TEST(IntegerWeights, Int4IsAsNearAsFourBitsCanBe) {
  torch::manual_seed(9);
  const at::Tensor weight = torch::randn({64, 1024});
  const at::Tensor error = round_int4(linear_kernels(), weight).values - weight;
  // Half a step is the bound where the largest magnitude is 8 steps; clipping at 7 costs up to a whole one.
  const at::Tensor step = weight.view({64, 32, 32}).abs().amax(2) / 8;
  EXPECT_LT((error.view({64, 32, 32}).abs().amax(2) / step).max().item<double>(), 1.35);
  const double noise = error.square().mean().sqrt().item<double>();
  EXPECT_LT(noise, 0.095);
  EXPECT_GT(noise, 0.05);
}

TEST(IntegerWeights, Int4KeepsWhatItCanSayExactly) {
  const at::Tensor weight = (torch::arange(0, 64).remainder(16) - 8).to(at::kFloat).view({1, 64}) * 0.25;
  EXPECT_TRUE(torch::equal(round_int4(linear_kernels(), weight).values, weight));
  const at::Tensor nothing = torch::zeros({2, 64});
  EXPECT_TRUE(torch::equal(round_int4(linear_kernels(), nothing).values, nothing));
}

TEST(IntegerWeights, Int4LayersKeepTheirBiasAndEveryRowApart) {
  torch::manual_seed(10);
  const torch::NoGradGuard no_grad;
  Linear layer(200, 37);
  const at::Tensor weight = layer->weight.clone(), x = torch::randn({2, 4, 200});
  layer->quantize(IntegerWeights::kInt4);
  EXPECT_EQ(layer->weight.scalar_type(), at::kByte);
  EXPECT_EQ(layer->weight.sizes(), at::IntArrayRef({37, 128}));
  const at::Tensor y = layer->forward(x), wide = at::linear(x, weight, layer->bias);
  EXPECT_LT(largest_difference(y, wide), 0.25 * wide.abs().max().item<double>());
  EXPECT_GT(largest_difference(y, wide), 1e-4);
  for (std::int64_t row = 0; row < 4; ++row) EXPECT_TRUE(torch::equal(layer->forward(x[1][row]), y[1][row])) << row;
  EXPECT_TRUE(torch::equal(layer->forward(torch::zeros({1, 200}))[0], layer->bias));
  const at::Tensor bad = torch::full({1, 200}, std::nan(""));
  EXPECT_TRUE(layer->forward(bad).isnan().all().item<bool>());
}

TEST(IntegerWeights, AWeightThatIsNoNumberStaysNone) {
  const torch::NoGradGuard no_grad;
  for (const auto format : {IntegerWeights::kInt8, IntegerWeights::kInt4}) {
    Linear layer(64, 3, /*with_bias=*/false);
    layer->weight[1][5] = std::nan("");
    layer->quantize(format);
    const at::Tensor y = layer->forward(torch::ones({1, 64}))[0];
    EXPECT_TRUE(y[1].isnan().item<bool>());
    EXPECT_TRUE(y[0].isfinite().item<bool>());
  }
}

TEST(IntegerWeights, MoreInputsThanTheSumsHoldAreRefused) {
  Linear layer((1 << 16) + 1, 1);
  EXPECT_THROW(layer->quantize(), c10::Error);
}

}  // namespace
}  // namespace blip2
