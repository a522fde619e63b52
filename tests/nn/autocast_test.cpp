#include "blip2/nn/autocast.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "blip2/nn/attention.h"
#include "blip2/nn/dropout.h"
#include "blip2/nn/linear.h"
#include "support/expect_error.h"

namespace blip2 {
namespace {

constexpr std::array kHalfPrecisions{Precision::kBFloat16, Precision::kFloat16};

at::ScalarType dtype_of(Precision precision) {
  return precision == Precision::kBFloat16 ? at::kBFloat16 : at::kHalf;
}

TEST(Autocast, MultipliesInHalfPrecisionAndKeepsFloat32Weights) {
  torch::manual_seed(1);
  Linear layer(16, 8);
  const at::Tensor x = torch::randn({3, 16});
  for (const Precision precision : kHalfPrecisions) {
    const Autocast half(precision, at::kCPU);
    const at::ScalarType dtype = dtype_of(precision);
    EXPECT_EQ(product_dtype(x), dtype);
    EXPECT_EQ(product_dtype(x.to(at::kDouble)), at::kDouble);
    const at::Tensor expected = at::linear(x.to(dtype), layer->weight.to(dtype), layer->bias.to(dtype));
    EXPECT_TRUE(torch::equal(layer(x), expected));
    const torch::NoGradGuard no_grad;  // where float32 would take loops of its own
    EXPECT_TRUE(torch::equal(layer(x), expected));
    const FullPrecision here;
    EXPECT_EQ(layer(x).scalar_type(), at::kFloat);
  }
  EXPECT_EQ(layer(x).scalar_type(), at::kFloat);
  EXPECT_EQ(Autocast::active(at::kCPU), Precision::kFloat32);
}

TEST(Autocast, GradientsAreFloat32AndCloseHoweverTheyAreAdded) {
  torch::manual_seed(2);
  Linear layer(16, 8);
  const at::Tensor x = torch::randn({5, 16}).requires_grad_();
  const auto gradients = [&](bool in_place, Precision precision) {
    std::optional<GradientsInPlace> added;
    if (in_place) added.emplace();
    for (at::Tensor leaf : {x, layer->weight, layer->bias}) leaf.mutable_grad().reset();
    for (int i = 0; i < 2; ++i) {
      const Autocast half(precision, at::kCPU);
      differentiate(at_least_float(layer(x)).square().sum());
    }
    return std::vector<at::Tensor>{x.grad(), layer->weight.grad(), layer->bias.grad()};
  };
  const auto exact = gradients(false, Precision::kFloat32);
  for (const Precision precision : kHalfPrecisions) {
    for (const bool in_place : {false, true}) {
      const auto rounded = gradients(in_place, precision);
      for (std::size_t i = 0; i < exact.size(); ++i) {
        EXPECT_EQ(rounded[i].scalar_type(), at::kFloat);
        const double scale = exact[i].abs().max().item<double>();
        EXPECT_LT((rounded[i] - exact[i]).abs().max().item<double>(), 0.03 * scale) << i;
        EXPECT_FALSE(torch::equal(rounded[i], exact[i])) << i;
      }
    }
  }
}

TEST(Autocast, ARowThatSeesNothingHasFiniteGradients) {
  torch::manual_seed(3);
  const auto make = [] { return torch::randn({1, 2, 4, 8}).requires_grad_(); };
  const at::Tensor query = make(), key = make(), value = make();
  const at::Tensor mask =
      additive_mask(torch::tensor({1, 1, 0, 0}).view({1, 1, 4, 1}).expand({1, 1, 4, 4}), at::kFloat);
  for (const Precision precision : kHalfPrecisions) {
    for (const double dropped : {0.0, 0.1}) {
      for (at::Tensor leaf : {query, key, value}) leaf.mutable_grad().reset();
      const Autocast half(precision, at::kCPU);
      const at::Tensor context = attention(query, {key, value}, mask, 0.3, dropped);
      EXPECT_TRUE(context.isfinite().all().item<bool>());
      differentiate(at_least_float(context).square().sum());
      for (const at::Tensor& leaf : {query, key, value}) EXPECT_TRUE(leaf.grad().isfinite().all().item<bool>());
    }
  }
}

TEST(Autocast, DropoutDropsTheSamePlaces) {
  const at::Tensor x = torch::ones({50, 40});
  torch::manual_seed(4);
  const at::Tensor kept = dropout(x, 0.4);
  torch::manual_seed(4);
  EXPECT_TRUE(torch::equal(dropout(x.to(at::kBFloat16), 0.4), kept));
  torch::manual_seed(4);
  EXPECT_TRUE(torch::equal(dropout_add(x.to(at::kHalf), torch::zeros_like(x), 0.4), kept));
}

TEST(Autocast, NamesOfPrecisions) {
  EXPECT_EQ(precision_from_name("float32"), Precision::kFloat32);
  EXPECT_EQ(precision_from_name("bfloat16"), Precision::kBFloat16);
  EXPECT_EQ(precision_from_name("float16"), Precision::kFloat16);
  EXPECT_USER_ERROR(precision_from_name("fp16"), "unknown precision 'fp16', expected float32, bfloat16 or float16");
}

}  // namespace
}  // namespace blip2
