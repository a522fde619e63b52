// Weights rounded to int8 and int4: the rounding itself, the product of what is left, and its equality in every
// variant.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

#include "blip2/nn/linear.h"
#include "nn/integer_product.h"

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
  EXPECT_EQ(layer->weight.sizes(), at::IntArrayRef({40, 128}));
  const at::Tensor y = layer->forward(x), expected = at::linear(x, rounded, layer->bias);
  EXPECT_LT(largest_difference(y, expected), 1e-3 * expected.abs().max().item<double>());
  EXPECT_GT(largest_difference(y, at::linear(x, weight, layer->bias)), 1e-4);
  for (std::int64_t row = 0; row < 9; ++row) EXPECT_TRUE(torch::equal(layer->forward(x[row]), y[row])) << row;
}

TEST(IntegerWeights, Int8InputsAreRoundedByTheRow) {
  torch::manual_seed(15);
  const torch::NoGradGuard no_grad;
  Linear layer(100, 37), twin(100, 37);
  twin->weight.copy_(layer->weight);
  const at::Tensor weight = layer->weight.clone(), x = torch::randn({23, 100}) * 3;
  const at::Tensor w_scale = weight.abs().amax(1, true) / 127, x_scale = x.abs().amax(1, true) / 127;
  const at::Tensor expected =
      at::linear((x / x_scale).round() * x_scale, (weight / w_scale).round() * w_scale, layer->bias);
  layer->quantize(IntegerWeights::kInt8, IntegerInputs::k8Bits);
  const at::Tensor y = layer->forward(x);
  EXPECT_LT(largest_difference(y, expected), 1e-5 * expected.abs().max().item<double>());
  for (std::int64_t row = 0; row < 23; ++row) EXPECT_TRUE(torch::equal(layer->forward(x[row]), y[row])) << row;
  // Layers of one kind share the rounding; a neighbour with 15-bit inputs keeps its own.
  twin->quantize();
  const auto together = forward_together(x, {layer.get(), twin.get()});
  EXPECT_TRUE(torch::equal(together[0], y));
  EXPECT_TRUE(torch::equal(together[1], twin->forward(x)));
  EXPECT_TRUE(torch::equal(forward_together(x, {layer.get(), layer.get()})[1], y));
  EXPECT_THROW(Linear(64, 4)->quantize(IntegerWeights::kInt4, IntegerInputs::k8Bits), c10::Error);
}

/** The layer's own product by one variant of the loops, without bias; `parts_per_row` of int8 weights. */
at::Tensor by_variant(const CpuKernels& kernels, const at::Tensor& x, const RoundedWeight& weight,
                      std::int64_t parts_per_row = 2) {
  const bool int4 = weight.values.scalar_type() == at::kShort;
  const std::int64_t rows = x.size(0), count = x.size(1), out = weight.scale.size(0);
  LinearTask task;
  task.in = weight.values.size(1) * (int4 ? 4 : 1);
  task.stride = task.in + 17;
  const at::Tensor rounded = at::empty({rows, task.stride}, at::kShort);
  const at::Tensor parts = at::empty({2 * rows, task.stride}, at::kChar);
  const at::Tensor sums = at::empty({2 * rows}, at::kInt), x_scale = at::empty({rows}), y = at::empty({rows, out});
  for (std::int64_t r = 0; r < rows; ++r) {
    auto* row = rounded.data_ptr<std::int16_t>() + r * task.stride;
    const float* values = x.const_data_ptr<float>() + r * count;
    if (parts_per_row == 1) {
      x_scale.data_ptr<float>()[r] = kernels.round_row_int8(
          values, count, task.in, parts.data_ptr<std::int8_t>() + r * task.stride, sums.data_ptr<std::int32_t>() + r);
      continue;
    }
    x_scale.data_ptr<float>()[r] = kernels.round_row(values, count, task.in, row);
    kernels.halve_row(row, task.in, task.stride, parts.data_ptr<std::int8_t>() + 2 * r * task.stride,
                      sums.data_ptr<std::int32_t>() + 2 * r);
  }
  task.weight = weight.values.const_data_ptr();
  if (int4) {
    task.group_scale = static_cast<const std::uint16_t*>(weight.scale.const_data_ptr());
  } else {
    task.weight_scale = weight.scale.const_data_ptr<float>();
  }
  task.end = out;
  task.rows = rows;
  task.parts_per_row = parts_per_row;
  task.inputs = rounded.const_data_ptr<std::int16_t>();
  task.parts = parts.const_data_ptr<std::int8_t>();
  task.part_sums = sums.const_data_ptr<std::int32_t>();
  task.x_scale = x_scale.const_data_ptr<float>();
  task.y = y.data_ptr<float>();
  task.y_stride = out;
  (int4 ? kernels.from_int4 : kernels.from_int8)(task);
  return y;
}

TEST(IntegerWeights, Int8IsTheSameInEveryVariant) {
  torch::manual_seed(6);
  const at::Tensor x = torch::randn({5, 150}), weight = torch::randn({11, 150});
  const RoundedWeight rounded = round_weight(weight, IntegerWeights::kInt8);
  const at::Tensor first = by_variant(*cpu_kernel_variant(0), x, rounded);
  EXPECT_LT(largest_difference(first, at::linear(x, weight)), 0.5);
  const at::Tensor eight_bits = by_variant(*cpu_kernel_variant(0), x, rounded, 1);
  EXPECT_LT(largest_difference(eight_bits, first), 0.5);
  for (int v = 0; cpu_kernel_variant(v) != nullptr; ++v) {
    const CpuKernels& kernels = *cpu_kernel_variant(v);
    EXPECT_TRUE(torch::equal(by_variant(kernels, x, rounded), first)) << kernels.name;
    EXPECT_TRUE(torch::equal(by_variant(kernels, x, rounded, 1), eight_bits)) << kernels.name;
    std::vector<std::int8_t> expected(192), row(192);
    const float* values = weight.const_data_ptr<float>();
    const float scale = cpu_kernels().round_weights_int8(values, 150, 192, expected.data());
    EXPECT_EQ(kernels.round_weights_int8(values, 150, 192, row.data()), scale) << kernels.name;
    EXPECT_EQ(row, expected) << kernels.name;
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

/** What the int4 weight that a variant makes of [out, in] stands for, [out, in filled up]. */
at::Tensor int4_values(const CpuKernels& kernels, const at::Tensor& weight) {
  const std::int64_t out = weight.size(0), count = weight.size(1), in = (count + 63) / 64 * 64;
  const at::Tensor packed = at::empty({out, in / 4}, at::kShort), scale = at::empty({out, in / 64}, at::kBFloat16);
  for (std::int64_t r = 0; r < out; ++r) {
    kernels.round_weights_int4(weight.const_data_ptr<float>() + r * count, count, in,
                               static_cast<std::uint16_t*>(packed.data_ptr()) + r * in / 4,
                               static_cast<std::uint16_t*>(scale.data_ptr()) + r * in / 64);
  }
  const at::Tensor numbers = packed.to(at::kInt).bitwise_and(0xFFFF).view({out, in / 64, 16});
  std::vector<at::Tensor> quarters;
  for (int i = 0; i < 4; ++i) {
    const at::Tensor four = numbers.bitwise_right_shift(4 * i).bitwise_and(15);
    quarters.push_back(at::where(four.ge(8), four - 16, four));
  }
  const at::Tensor values = torch::stack(quarters, 2).view({out, in / 64, 64});
  return (values * scale.to(at::kFloat).unsqueeze(2)).view({out, in});
}

TEST(IntegerWeights, Int4IsTheSameWeightInEveryVariantAndItsProductIsRight) {
  torch::manual_seed(8);
  for (const auto& [rows, count, out] : std::vector<std::array<std::int64_t, 3>>{
           {1, 1, 1}, {1, 64, 8}, {2, 31, 5}, {5, 150, 11}, {7, 1100, 3}, {15, 128, 6}}) {
    const at::Tensor x = torch::randn({rows, count}), weight = torch::randn({out, count});
    const at::Tensor wide_x = at::constant_pad_nd(x, {0, (64 - count % 64) % 64});
    const at::Tensor values = int4_values(cpu_kernels(), weight);
    const at::Tensor expected = at::linear(wide_x.to(at::kDouble), values.to(at::kDouble));
    const RoundedWeight rounded = round_weight(weight, IntegerWeights::kInt4);
    for (int v = 0; cpu_kernel_variant(v) != nullptr; ++v) {
      const CpuKernels& kernels = *cpu_kernel_variant(v);
      EXPECT_TRUE(torch::equal(int4_values(kernels, weight), values)) << kernels.name;
      const double size = std::sqrt(static_cast<double>(count));
      EXPECT_LT(largest_difference(by_variant(kernels, x, rounded), expected), 3e-4 * size)
          << kernels.name << " " << rows << "x" << count << "->" << out;
    }
  }
}

TEST(IntegerWeights, Int4IsAsNearAsFourBitsCanBe) {
  torch::manual_seed(9);
  const at::Tensor weight = torch::randn({64, 1024});
  const at::Tensor error = int4_values(cpu_kernels(), weight) - weight;
  // Half a step is the bound where the largest magnitude is 8 steps; clipping at 7 costs up to a whole one.
  const at::Tensor step = weight.view({64, 16, 64}).abs().amax(2) / 8;
  EXPECT_LT((error.view({64, 16, 64}).abs().amax(2) / step).max().item<double>(), 1.35);
  const double noise = error.square().mean().sqrt().item<double>();
  EXPECT_LT(noise, 0.105);
  EXPECT_GT(noise, 0.06);
}

TEST(IntegerWeights, Int4KeepsWhatItCanSayExactly) {
  const at::Tensor weight = (torch::arange(0, 128).remainder(16) - 8).to(at::kFloat).view({2, 64}) * 0.25;
  EXPECT_TRUE(torch::equal(int4_values(cpu_kernels(), weight), weight));
  const at::Tensor nothing = torch::zeros({2, 64});
  EXPECT_TRUE(torch::equal(int4_values(cpu_kernels(), nothing), nothing));
}

TEST(IntegerWeights, Int4LayersKeepTheirBiasAndEveryRowApart) {
  torch::manual_seed(10);
  const torch::NoGradGuard no_grad;
  Linear layer(200, 37);
  const at::Tensor weight = layer->weight.clone(), x = torch::randn({2, 4, 200});
  layer->quantize(IntegerWeights::kInt4);
  EXPECT_EQ(layer->weight.scalar_type(), at::kShort);
  EXPECT_EQ(layer->weight.sizes(), at::IntArrayRef({40, 64}));
  const at::Tensor y = layer->forward(x), wide = at::linear(x, weight, layer->bias);
  EXPECT_LT(largest_difference(y, wide), 0.25 * wide.abs().max().item<double>());
  EXPECT_GT(largest_difference(y, wide), 1e-4);
  for (std::int64_t row = 0; row < 4; ++row) EXPECT_TRUE(torch::equal(layer->forward(x[1][row]), y[1][row])) << row;
  EXPECT_TRUE(torch::equal(layer->forward(torch::zeros({1, 200}))[0], layer->bias));
  EXPECT_EQ(layer->forward(torch::zeros({0, 200})).sizes(), at::IntArrayRef({0, 37}));
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
