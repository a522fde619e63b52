#include "blip2/nn/linear.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <thread>

#include "nn/cpu_kernels.h"

namespace blip2 {
namespace {

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

/** A product by one variant of the loops, all outputs at once. */
at::Tensor by_variant(const CpuKernels& kernels, const at::Tensor& x, const at::Tensor& weight) {
  at::Tensor y = at::empty({x.size(0), weight.size(0)});
  LinearTask task;
  task.weight = weight.const_data_ptr();
  task.in = weight.size(1);
  task.end = weight.size(0);
  task.rows = x.size(0);
  task.x = x.const_data_ptr<float>();
  task.y = y.data_ptr<float>();
  task.y_stride = weight.size(0);
  const at::ScalarType dtype = weight.scalar_type();
  (dtype == at::kFloat ? kernels.from_float : dtype == at::kHalf ? kernels.from_half : kernels.from_bfloat16)(task);
  return y;
}

TEST(GradientsInPlace, LayersAddToGradThemselvesAndOnlyThen) {
  torch::manual_seed(2);
  Linear layer(5, 3);
  const at::Tensor x = torch::randn({2, 4, 5}).requires_grad_();
  const auto through_autograd = [&] {
    const at::Tensor loss = layer(x).square().sum();
    return torch::autograd::grad({loss}, {x, layer->weight, layer->bias}, {}, std::nullopt, false, true);
  };
  const auto expected = through_autograd();
  EXPECT_FALSE(layer->weight.grad().defined());
  {
    const GradientsInPlace in_place;
    const auto other = through_autograd();
    EXPECT_LT(largest_difference(other[0], expected[0]), 1e-6);
    EXPECT_FALSE(other[1].defined());  // it went to grad
    layer(x).square().sum().backward();
  }
  EXPECT_LT(largest_difference(layer->weight.grad(), 2 * expected[1]), 1e-5);
  EXPECT_LT(largest_difference(layer->bias.grad(), 2 * expected[2]), 1e-5);
}

TEST(Linear, EveryVariantComputesEveryShape) {
  torch::manual_seed(1);
  for (int v = 0; cpu_kernel_variant(v) != nullptr; ++v) {
    const CpuKernels& kernels = *cpu_kernel_variant(v);
    for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
      for (const auto& [rows, in, out] : std::vector<std::array<std::int64_t, 3>>{
               {1, 1, 1}, {1, 64, 8}, {2, 17, 5}, {3, 100, 7}, {5, 33, 9}, {7, 48, 3}, {13, 130, 11}}) {
        const at::Tensor x = torch::randn({rows, in}), weight = torch::randn({out, in}).to(dtype);
        const at::Tensor expected = at::linear(x.to(at::kDouble), weight.to(at::kDouble));
        EXPECT_LT(largest_difference(by_variant(kernels, x, weight), expected), 2e-5)
            << kernels.name << " " << dtype << " " << rows << "x" << in << "->" << out;
      }
    }
  }
}

TEST(Linear, EveryFloat16IsWidenedExactly) {
  const at::Tensor bits = torch::arange(0, 1 << 16, at::kInt).to(at::kShort);
  const at::Tensor halves = bits.view(at::kHalf);
  const at::Tensor finite = halves.masked_select(halves.to(at::kFloat).isfinite()).unsqueeze(1).contiguous();
  for (int v = 0; cpu_kernel_variant(v) != nullptr; ++v) {
    const at::Tensor wide = by_variant(*cpu_kernel_variant(v), torch::ones({1, 1}), finite);
    EXPECT_TRUE(torch::equal(wide.view({-1}), finite.view({-1}).to(at::kFloat))) << cpu_kernel_variant(v)->name;
  }
}

TEST(Linear, ARowDoesNotKnowItsBatch) {
  torch::manual_seed(2);
  const torch::NoGradGuard no_grad;
  const std::int64_t rows = std::min<std::int64_t>(40, cpu_kernels().most_narrow_rows);
  const at::Tensor x = torch::randn({rows, 96});
  for (const auto dtype : {at::kBFloat16, at::kHalf}) {
    const at::Tensor weight = torch::randn({50, 96}).to(dtype), bias = torch::randn({50});
    const at::Tensor together = apply_linear(x.view({2, rows / 2, 96}), weight, bias).view({rows, 50});
    for (std::int64_t row = 0; row < rows; ++row) {
      EXPECT_TRUE(torch::equal(apply_linear(x[row], weight, bias), together[row])) << row;
    }
  }
}

TEST(Linear, NarrowWeightsGiveTheWideResult) {
  torch::manual_seed(3);
  const torch::NoGradGuard no_grad;
  const at::Tensor weight = torch::randn({70, 200}).to(at::kBFloat16), bias = torch::randn({70});
  // 200 products of numbers around 1 are summed one behind the other by some libraries, in blocks by others.
  constexpr double kRounding = 6e-5;
  for (const std::int64_t rows : {1, 6, 33, 700}) {
    const at::Tensor x = torch::randn({rows, 200});
    const at::Tensor expected = at::linear(x.to(at::kDouble), weight.to(at::kDouble), bias.to(at::kDouble));
    EXPECT_LT(largest_difference(apply_linear(x, weight, bias), expected), kRounding) << rows;
    EXPECT_LT(largest_difference(apply_linear(x, weight.to(at::kFloat), bias), expected), kRounding) << rows;
  }
}

TEST(Linear, NarrowWeightsAreWidenedInsideAndOutsideOfInferenceMode) {
  torch::manual_seed(3);
  const at::Tensor weight = torch::randn({70, 200}).to(at::kBFloat16), larger = torch::randn({90, 300}).to(at::kHalf);
  std::thread fresh([&] {  // its room for widened weights is made within the mode
    {
      const c10::InferenceMode inference;
      apply_linear(torch::randn({300, 200}), weight);
    }
    const torch::NoGradGuard no_grad;
    for (const at::Tensor& w : {weight, larger, weight}) {
      const at::Tensor x = torch::randn({300, w.size(1)});
      const at::Tensor expected = at::linear(x.to(at::kDouble), w.to(at::kDouble));
      EXPECT_LT(largest_difference(apply_linear(x, w), expected), 1e-4);
    }
  });
  fresh.join();
}

TEST(Linear, RecordsGradientsAsTorchDoes) {
  torch::manual_seed(4);
  Linear layer(12, 5);
  const at::Tensor x = torch::randn({2, 3, 12}, at::requires_grad()), other = x.detach().clone().requires_grad_();
  layer(x).square().sum().backward();
  const at::Tensor weight = layer->weight.detach().clone().requires_grad_();
  at::linear(other, weight, layer->bias.detach()).square().sum().backward();
  EXPECT_TRUE(torch::equal(x.grad(), other.grad()));
  EXPECT_TRUE(torch::equal(layer->weight.grad(), weight.grad()));
  // A frozen narrow weight still hands the gradient on.
  const at::Tensor narrow = weight.detach().to(at::kBFloat16);
  other.mutable_grad().reset();
  apply_linear(other, narrow).sum().backward();
  EXPECT_LT(largest_difference(other.grad()[0][0], narrow.to(at::kFloat).sum(0)), 1e-6);
}

TEST(Linear, ComputesInTheDtypeOfItsInput) {
  const torch::NoGradGuard no_grad;
  const Linear layer(8, 3);
  EXPECT_EQ(layer->forward(torch::ones({2, 8}, at::kDouble)).scalar_type(), at::kDouble);
  EXPECT_EQ(layer->forward(torch::ones({2, 8}, at::kBFloat16)).scalar_type(), at::kBFloat16);
  EXPECT_EQ(layer->forward(torch::ones({0, 8})).sizes(), at::IntArrayRef({0, 3}));
}

TEST(Linear, FreshWeightsAreTorchsUnlessTheyAreLoadedNext) {
  torch::manual_seed(7);
  const Linear ours(30, 20);
  torch::manual_seed(7);
  const torch::nn::Linear theirs(30, 20);
  EXPECT_TRUE(torch::equal(ours->weight, theirs->weight));
  EXPECT_TRUE(torch::equal(ours->bias, theirs->bias));
  torch::manual_seed(7);
  const at::Tensor next = torch::rand({1});
  torch::manual_seed(7);
  {
    const SkipInitialization read_next;
    const Linear untouched(30, 20);
  }
  EXPECT_TRUE(torch::equal(torch::rand({1}), next));
}

TEST(Linear, LayersTogetherGiveWhatEachGivesAlone) {
  torch::manual_seed(7);
  for (const std::int64_t rows : {1, 5, 300}) {
    for (const int format : {0, 1, 2, 3, 4}) {
      const torch::NoGradGuard no_grad;
      WeightOptions narrow;
      narrow.dtype = format == 1 ? at::kBFloat16 : at::kFloat;
      Linear first(70, 37, true, narrow), second(70, 10, false, narrow), third(70, 64, true, narrow);
      for (LinearImpl* layer : {first.get(), second.get(), third.get()}) {
        if (layer->bias.defined()) layer->bias.set_data(layer->bias.to(at::kFloat));
        if (format == 2) layer->quantize(IntegerWeights::kInt8);
        if (format == 3) layer->quantize(IntegerWeights::kInt4);
      }
      if (format == 4) second->quantize();  // layers that have nothing in common
      const at::Tensor x = torch::randn({rows, 70}).view({rows, 1, 70});
      const auto together = forward_together(x, {first.get(), second.get(), third.get()});
      ASSERT_EQ(together.size(), 3);
      EXPECT_TRUE(torch::equal(together[0], first->forward(x))) << rows << " " << format;
      EXPECT_TRUE(torch::equal(together[1], second->forward(x))) << rows << " " << format;
      EXPECT_TRUE(torch::equal(together[2], third->forward(x))) << rows << " " << format;
    }
  }
}

TEST(Linear, LayersTogetherTeachEachOfThem) {
  torch::manual_seed(8);
  Linear first(6, 4), second(6, 3);
  const at::Tensor x = torch::randn({2, 6}).requires_grad_();
  const auto together = forward_together(x, {first.get(), second.get()});
  (together[0].sum() + together[1].square().sum()).backward();
  EXPECT_TRUE(first->weight.grad().defined());
  EXPECT_TRUE(second->weight.grad().defined());
  EXPECT_TRUE(x.grad().defined());
}

}  // namespace
}  // namespace blip2
