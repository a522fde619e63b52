#include "blip2/qformer/attention_mask.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

namespace blip2 {
namespace {

// Two queries and three text positions, the last of which is padding. One digit per key: q q t t t.
const at::Tensor kTextMask = torch::tensor({{1, 1, 0}}, torch::kLong);

std::vector<std::string> rows(const at::Tensor& mask) {
  std::vector<std::string> result;
  for (std::int64_t i = 0; i < mask.size(2); ++i) {
    std::string row;
    for (std::int64_t j = 0; j < mask.size(3); ++j) row += mask[0][0][i][j].item<bool>() ? '1' : '0';
    result.push_back(row);
  }
  return result;
}

TEST(UnimodalMask, QueriesAndTextDoNotSeeEachOther) {
  EXPECT_EQ(rows(unimodal_mask(kTextMask, 2)), (std::vector<std::string>{"11000", "11000", "00110", "00110", "00110"}));
}

TEST(BidirectionalMask, EverybodySeesEverythingButPadding) {
  EXPECT_EQ(rows(bidirectional_mask(kTextMask, 2)),
            (std::vector<std::string>{"11110", "11110", "11110", "11110", "11110"}));
}

TEST(MultimodalCausalMask, TextCannotSeeLaterTextAndQueriesCannotSeeText) {
  EXPECT_EQ(rows(multimodal_causal_mask(kTextMask, 2)),
            (std::vector<std::string>{"11000", "11000", "11100", "11110", "11110"}));
}

TEST(ContrastAndGenerationMask, HoldsBothTextsWhichDoNotSeeEachOther) {
  EXPECT_EQ(rows(contrast_and_generation_mask(kTextMask, 2)),
            (std::vector<std::string>{"11000000", "11000000", "00110000", "00110000", "00110000", "11000100",
                                      "11000110", "11000110"}));
}

TEST(AttentionMasks, WithoutQueriesOnlyTheTextBlockIsLeft) {
  EXPECT_EQ(rows(unimodal_mask(kTextMask, 0)), (std::vector<std::string>{"110", "110", "110"}));
  EXPECT_EQ(rows(multimodal_causal_mask(kTextMask, 0)), (std::vector<std::string>{"100", "110", "110"}));
}

TEST(AttentionMasks, EveryRowOfABatchHasItsOwnPadding) {
  const auto mask = bidirectional_mask(torch::tensor({{1, 0}, {1, 1}}, torch::kLong), 1);
  EXPECT_EQ(mask.sizes(), (std::vector<std::int64_t>{2, 1, 3, 3}));
  EXPECT_FALSE(mask[0][0][0][2].item<bool>());
  EXPECT_TRUE(mask[1][0][0][2].item<bool>());
}

}  // namespace
}  // namespace blip2
