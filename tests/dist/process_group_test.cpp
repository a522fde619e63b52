#include "blip2/dist/process_group.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <atomic>

namespace blip2 {
namespace {

TEST(SingleProcessGroup, CollectivesAreIdentitiesWithoutGradient) {
  const auto group = single_process_group();
  const auto x = torch::randn({2, 3}).requires_grad_();
  EXPECT_EQ(group->size(), 1);
  EXPECT_TRUE(torch::equal(group->all_gather(x), x));
  EXPECT_FALSE(group->all_gather(x).requires_grad());
  EXPECT_TRUE(all_gather_with_gradient(x, group).is_same(x));
}

TEST(ThreadGroup, GathersInRankOrderAndSums) {
  run_thread_group(3, [](const std::shared_ptr<ProcessGroup>& group) {
    const auto x = torch::full({1, 2}, static_cast<double>(group->rank()));
    EXPECT_TRUE(torch::equal(group->all_gather(x).select(1, 0), torch::tensor({0.0, 1.0, 2.0}, torch::kFloat)));
    EXPECT_TRUE(torch::equal(group->all_reduce_sum(x), torch::full({1, 2}, 3.0)));
  });
}

TEST(ThreadGroup, GradientOfTheGatherSumsOverTheRanks) {
  run_thread_group(2, [](const std::shared_ptr<ProcessGroup>& group) {
    const auto x = torch::ones({1, 2}).requires_grad_();
    const double weight = group->rank() == 0 ? 1.0 : 10.0;
    (weight * all_gather_with_gradient(x, group)).sum().backward();
    EXPECT_TRUE(torch::equal(x.grad(), torch::full({1, 2}, 11.0)));
  });
}

TEST(ThreadGroup, AnExceptionOfOneRankReachesTheCaller) {
  std::atomic<int> finished{0};
  EXPECT_THROW(run_thread_group(2,
                                [&](const std::shared_ptr<ProcessGroup>& group) {
                                  if (group->rank() == 1) throw std::runtime_error("rank 1 is ill");
                                  ++finished;
                                }),
               std::runtime_error);
  EXPECT_EQ(finished, 1);
}

}  // namespace
}  // namespace blip2
