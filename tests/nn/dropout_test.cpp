#include "blip2/nn/dropout.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "nn/cpu_kernels.h"

namespace blip2 {
namespace {

at::Tensor drawn(const at::Tensor& x, double probability, std::uint64_t seed = 3) {
  torch::manual_seed(seed);
  return dropout(x, probability);
}

TEST(Dropout, KeepsItsShareAndTheMean) {
  const at::Tensor y = drawn(torch::ones({1000, 333}), 0.1);
  const double kept = y.ne(0).to(torch::kDouble).mean().item<double>();
  EXPECT_NEAR(kept, 0.9, 0.002);  // deviation 0.0005
  EXPECT_TRUE(torch::allclose(y.masked_select(y.ne(0)), torch::full({1}, 1.0F / 0.9F)));
  // Neither rows nor columns favour anything.
  EXPECT_LT((y.ne(0).to(torch::kDouble).mean(0) - 0.9).abs().max().item<double>(), 0.05);
  EXPECT_LT((y.ne(0).to(torch::kDouble).mean(1) - 0.9).abs().max().item<double>(), 0.09);
}

TEST(Dropout, NeighboursAreIndependent) {
  const at::Tensor kept = drawn(torch::ones({1 << 20}), 0.5).ne(0).to(torch::kDouble) - 0.5;
  for (const std::int64_t distance : {1, 2, 64, 768}) {
    const double correlation = (kept.slice(0, distance) * kept.slice(0, 0, -distance)).mean().item<double>() * 4;
    EXPECT_LT(std::abs(correlation), 0.006) << distance;  // deviation 0.001
  }
}

TEST(Dropout, FollowsTorchsSeedWhateverTheThreads) {
  const at::Tensor x = torch::randn({70001});  // several pieces, the last one short
  const at::Tensor first = drawn(x, 0.3, 5);
  EXPECT_TRUE(torch::equal(first, drawn(x, 0.3, 5)));
  EXPECT_FALSE(torch::equal(first, drawn(x, 0.3, 6)));
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  EXPECT_TRUE(torch::equal(first, drawn(x, 0.3, 5)));
  at::set_num_threads(threads);
  torch::manual_seed(5);
  const at::Tensor once = dropout(x, 0.3);
  EXPECT_FALSE(torch::equal(once, dropout(x, 0.3)));  // the next one is another
}

TEST(Dropout, GradientGoesWhereTheValueWent) {
  torch::manual_seed(7);
  const at::Tensor x = torch::randn({64, 50}).requires_grad_(), residual = torch::randn({64, 50}).requires_grad_();
  const at::Tensor y = drawn(x, 0.25);
  const at::Tensor weights = torch::randn({64, 50});
  (y * weights).sum().backward();
  EXPECT_TRUE(torch::equal(x.grad(), torch::where(y.ne(0), weights * (1.0F / 0.75F), torch::zeros({1}))));
  const at::Tensor of_x = x.grad().clone();
  x.mutable_grad().reset();
  torch::manual_seed(3);
  const at::Tensor sum = dropout_add(x, residual, 0.25);
  EXPECT_TRUE(torch::allclose(sum, y + residual, 1e-5, 1e-6));  // a fused multiply-add rounds once
  (sum * weights).sum().backward();
  EXPECT_TRUE(torch::equal(x.grad(), of_x));
  EXPECT_TRUE(torch::equal(residual.grad(), weights));
}

TEST(Dropout, TransposedAndDoubleInputsAreDroppedToo) {
  const at::Tensor y = drawn(torch::randn({30, 40}).t(), 0.5);
  EXPECT_EQ(y.sizes(), (std::vector<std::int64_t>{40, 30}));
  EXPECT_GT(drawn(torch::ones({1000}, torch::kDouble), 0.5).eq(0).sum().item<std::int64_t>(), 400);
}

TEST(Dropout, NothingIsDroppedWithoutProbability) {
  const at::Tensor x = torch::randn({3, 4});
  EXPECT_TRUE(dropout(x, 0).is_same(x));
  EXPECT_TRUE(torch::equal(dropout_add(x, x, 0), x + x));
  EXPECT_THROW(dropout(x, 1.0), c10::Error);
  EXPECT_THROW(dropout_add(x, x, -0.1), c10::Error);
}

TEST(Dropout, EveryInstructionSetDropsTheSame) {
  const at::Tensor x = torch::randn({1003}), residual = torch::randn({1003});
  std::vector<at::Tensor> results;
  for (int i = 0; cpu_kernel_variant(i) != nullptr; ++i) {
    at::Tensor y = torch::empty({1003});
    DropoutTask task;
    task.seed = 0x123456789abcdefULL;
    task.first = 77;
    task.count = 1003;
    task.threshold = 1U << 30;
    task.scale = 1.5F;
    task.x = x.const_data_ptr<float>();
    task.residual = residual.const_data_ptr<float>();
    task.y = y.mutable_data_ptr<float>();
    cpu_kernel_variant(i)->drop(task);
    results.push_back(y);
  }
  // A fused multiply-add rounds once.
  for (const auto& result : results) EXPECT_TRUE(torch::allclose(result, results[0], 1e-6, 1e-6));
}

}  // namespace
}  // namespace blip2
