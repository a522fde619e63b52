#include "blip2/core/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

namespace blip2 {
namespace {

TEST(Random, SameStreamSameNumbersOtherStreamOthers) {
  Random a({1, 2, 3}), b({1, 2, 3}), c({1, 2, 4}), d({1, 3, 2});
  const auto first = a.bits();
  EXPECT_EQ(first, b.bits());
  EXPECT_NE(first, c.bits());
  EXPECT_NE(first, d.bits());
}

TEST(Random, NumbersNeverChangeBetweenVersions) {
  // A stored run resumes with these numbers: changing the generator breaks every old checkpoint.
  Random random({42});
  EXPECT_EQ(random.bits(), 14582594334622583237ULL);
}

TEST(Random, UniformStaysInsideAndHasTheRightMean) {
  Random random({7});
  double sum = 0;
  for (int i = 0; i < 20000; ++i) {
    const double value = random.uniform(2.0, 4.0);
    ASSERT_GE(value, 2.0);
    ASSERT_LT(value, 4.0);
    sum += value;
  }
  EXPECT_NEAR(sum / 20000, 3.0, 0.02);
}

TEST(Random, BelowReachesEveryValueEvenly) {
  Random random({9});
  std::map<std::int64_t, int> counts;
  for (int i = 0; i < 30000; ++i) ++counts[random.below(3)];
  ASSERT_EQ(counts.size(), 3U);
  for (const auto& [value, count] : counts) EXPECT_NEAR(count, 10000, 400) << value;
}

TEST(Random, ShuffleIsAPermutation) {
  std::vector<int> values = {0, 1, 2, 3, 4, 5, 6, 7};
  Random random({5});
  random.shuffle(values);
  EXPECT_FALSE(std::is_sorted(values.begin(), values.end()));
  std::sort(values.begin(), values.end());
  EXPECT_EQ(values, (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7}));
}

}  // namespace
}  // namespace blip2
