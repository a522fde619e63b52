#include "nn/float_product.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

namespace blip2 {
namespace {

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

TEST(FloatProduct, IsTheProductWhicheverLibraryComputesIt) {
  torch::manual_seed(1);
  for (const auto dtype : {at::kFloat, at::kDouble}) {
    const at::Tensor x = torch::randn({37, 50}, dtype), weight = torch::randn({19, 50}, dtype),
                     bias = torch::randn({19}, dtype);
    const at::Tensor expected = x.to(at::kDouble).mm(weight.to(at::kDouble).t());
    const double tolerance = dtype == at::kFloat ? 2e-5 : 1e-12;
    EXPECT_LT(largest_difference(product(x, weight), expected), tolerance);
    EXPECT_LT(largest_difference(product(x, weight, bias), expected + bias), tolerance);
    // Factors as backward passes have them: transposed views.
    const at::Tensor across = x.t().contiguous().t(), upright = weight.t().contiguous().t();
    EXPECT_LT(largest_difference(product(across, upright), expected), tolerance);
    at::Tensor sum = torch::ones({37, 19}, dtype);
    add_product(sum, across, upright);
    EXPECT_LT(largest_difference(sum, expected + 1), tolerance);
  }
}

TEST(FloatProduct, NothingTimesAnythingIsNothing) {
  EXPECT_EQ(product(torch::zeros({0, 5}), torch::randn({3, 5})).sizes(), (std::vector<std::int64_t>{0, 3}));
  at::Tensor sum = torch::ones({5, 3});
  add_product(sum, torch::zeros({5, 0}), torch::zeros({3, 0}));
  EXPECT_TRUE(torch::equal(sum, torch::ones({5, 3})));
}

TEST(FloatProduct, TheSameNumbersGiveTheSameBits) {
  torch::manual_seed(2);
  const at::Tensor x = torch::randn({300, 200}), weight = torch::randn({100, 200});
  const at::Tensor first = product(x, weight);
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(torch::equal(product(x, weight), first));
}

}  // namespace
}  // namespace blip2
