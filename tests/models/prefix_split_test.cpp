#include "blip2/models/prefix_split.h"

#include <gtest/gtest.h>

#include <map>

namespace blip2 {
namespace {

TEST(PrefixSplit, PointsLieBetweenOneAndTheMiddleEvenly) {
  const TokenIds caption = {10, 11, 12, 13, 14, 15, 16};
  std::map<std::size_t, int> lengths;
  for (std::uint64_t i = 0; i < 3000; ++i) {
    Random random({i});
    const auto [prefix, suffix] = split_prefix(caption, random);
    TokenIds joined = prefix;
    joined.insert(joined.end(), suffix.begin(), suffix.end());
    ASSERT_EQ(joined, caption);
    ++lengths[prefix.size()];
  }
  ASSERT_EQ(lengths.size(), 3U);
  for (const std::size_t length : {1U, 2U, 3U}) EXPECT_NEAR(lengths[length], 1000, 120) << length;
}

TEST(PrefixSplit, ShortCaptionsGoToTheDecoder) {
  Random random({1});
  EXPECT_EQ(split_prefix({}, random).second, TokenIds{});
  EXPECT_EQ(split_prefix({7}, random).second, TokenIds{7});
  EXPECT_EQ(split_prefix({7}, random).first, TokenIds{});
  EXPECT_EQ(split_prefix({7, 8}, random).first, TokenIds{7});
}

}  // namespace
}  // namespace blip2
