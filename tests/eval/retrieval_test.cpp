#include "blip2/eval/retrieval.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "blip2/eval/demo_evaluation.h"

namespace blip2 {
namespace {

TEST(RetrievalScores, CountsRanksInBothDirections) {
  // Picture 0 finds its text first, picture 1 second, picture 2 third.
  const auto scores = torch::tensor({{0.9, 0.1, 0.2}, {0.8, 0.7, 0.1}, {0.9, 0.8, 0.3}}, torch::kDouble);
  const RetrievalScores result = retrieval_scores(scores, {0, 1, 2}, {0, 1, 2});
  EXPECT_NEAR(result.image_to_text.recall_at_1, 1.0 / 3, 1e-12);
  EXPECT_NEAR(result.image_to_text.recall_at_5, 1.0, 1e-12);
  // Text 0 is tied with picture 2: a tie is no success. Text 1 finds picture 2 first, text 2 its own.
  EXPECT_NEAR(result.text_to_image.recall_at_1, 1.0 / 3, 1e-12);
}

TEST(RetrievalScores, AnyTextOfThePictureIsRight) {
  const auto scores = torch::tensor({{0.1, 0.9, 0.5, 0.0}, {0.0, 0.2, 0.3, 0.4}}, torch::kDouble);
  EXPECT_NEAR(retrieval_scores(scores, {7, 8}, {7, 7, 8, 8}).image_to_text.recall_at_1, 1.0, 1e-12);
  EXPECT_NEAR(retrieval_scores(scores, {7, 8}, {7, 8, 7, 8}).image_to_text.recall_at_1, 0.5, 1e-12);
}

TEST(RetrievalScores, EqualScoresAreNoSuccess) {
  const RetrievalScores result =
      retrieval_scores(torch::zeros({20, 20}), std::vector<std::int64_t>(20, 0), std::vector<std::int64_t>(20, 0));
  EXPECT_EQ(result.image_to_text.recall_at_1, 1.0) << "every text is right here";
  std::vector<std::int64_t> own;
  for (std::int64_t i = 0; i < 20; ++i) own.push_back(i);
  EXPECT_EQ(retrieval_scores(torch::zeros({20, 20}), own, own).image_to_text.recall_at_10, 0.0);
}

TEST(RetrievalScores, SizesMustFit) {
  EXPECT_THROW(retrieval_scores(torch::zeros({2, 3}), {0, 1}, {0, 1}), c10::Error);
}

TEST(Reranking, MatchingDecidesAmongTheBestByContrast) {
  const auto similarity = torch::tensor({{0.9, 0.8, 0.7}}, torch::kDouble);
  const auto scores = rerank_by_matching(similarity, 2, [](std::int64_t, const at::Tensor& texts) {
    return texts.to(torch::kDouble);  // text 2 would win, but contrast leaves it out
  });
  EXPECT_NEAR(scores[0][0].item<double>(), 0.9, 1e-12);
  EXPECT_NEAR(scores[0][1].item<double>(), 1.8, 1e-12);
  EXPECT_EQ(scores[0][2].item<double>(), -100.0);
}

}  // namespace
}  // namespace blip2
