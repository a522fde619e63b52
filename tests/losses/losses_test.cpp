#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "blip2/losses/hard_negatives.h"
#include "blip2/losses/image_grounded_text.h"
#include "blip2/losses/image_text_contrastive.h"
#include "blip2/losses/image_text_matching.h"
#include "blip2/nn/autocast.h"
#include "support/reference.h"

namespace blip2 {
namespace {

const auto kDouble = torch::dtype(torch::kDouble);

/** Central differences of a scalar function against its gradient at `x`. */
void expect_numeric_gradient(const at::Tensor& start, const std::function<at::Tensor(const at::Tensor&)>& loss) {
  const at::Tensor x = start.clone().requires_grad_();
  loss(x).backward();
  torch::NoGradGuard no_grad;
  constexpr double kStep = 1e-6;
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    at::Tensor up = start.clone(), down = start.clone();
    up.view({-1})[i] += kStep;
    down.view({-1})[i] -= kStep;
    const double numeric = (loss(up).item<double>() - loss(down).item<double>()) / (2 * kStep);
    EXPECT_NEAR(x.grad().view({-1})[i].item<double>(), numeric, 1e-7) << "entry " << i;
  }
}

ContrastiveInput contrastive_input() {
  torch::manual_seed(4);
  ContrastiveInput input;
  input.image_features = torch::randn({3, 4, 5}, kDouble);
  input.text_features = torch::randn({3, 5}, kDouble);
  input.all_image_features = input.image_features.clone();
  input.all_text_features = input.text_features.clone();
  input.temperature = torch::tensor(0.5, kDouble);
  return input;
}

TEST(ImageTextContrastive, SimilaritiesAreNeverRounded) {
  torch::manual_seed(4);
  const at::Tensor images = torch::randn({3, 4, 64}), texts = torch::randn({5, 64});
  const at::Tensor expected = best_query_similarity(images, texts);
  const Autocast half(Precision::kBFloat16, at::kCPU);
  EXPECT_TRUE(torch::equal(best_query_similarity(images, texts), expected));
}

TEST(ImageTextContrastive, GradientsEqualCentralDifferences) {
  const ContrastiveInput input = contrastive_input();
  expect_numeric_gradient(input.image_features, [&](const at::Tensor& x) {
    ContrastiveInput changed = input;
    changed.image_features = x;
    return image_text_contrastive(changed).loss;
  });
  expect_numeric_gradient(input.text_features, [&](const at::Tensor& x) {
    ContrastiveInput changed = input;
    changed.text_features = x;
    return image_text_contrastive(changed).loss;
  });
  expect_numeric_gradient(input.temperature, [&](const at::Tensor& x) {
    ContrastiveInput changed = input;
    changed.temperature = x;
    return image_text_contrastive(changed).loss;
  });
}

TEST(ImageTextContrastive, SimilarityIsTheBestQueryOverTheTemperature) {
  const ContrastiveInput input = contrastive_input();
  const auto loss = image_text_contrastive(input);
  double best = -1e9;
  for (int q = 0; q < 4; ++q) {
    best = std::max(best, input.image_features[1][q].dot(input.text_features[2]).item<double>());
  }
  EXPECT_NEAR(loss.image_to_text[1][2].item<double>(), best / 0.5, 1e-12);
  EXPECT_NEAR(loss.text_to_image[2][1].item<double>(), best / 0.5, 1e-12);
}

TEST(ImageTextContrastive, DistinctPictureIdsEqualNoIds) {
  ContrastiveInput input = contrastive_input();
  const double without = image_text_contrastive(input).loss.item<double>();
  input.image_ids = torch::tensor({5, 3, 8}, torch::kLong);
  input.all_image_ids = input.image_ids;
  EXPECT_NEAR(image_text_contrastive(input).loss.item<double>(), without, 1e-12);
  input.image_ids = torch::tensor({5, 5, 8}, torch::kLong);
  input.all_image_ids = input.image_ids;
  EXPECT_GT(std::abs(image_text_contrastive(input).loss.item<double>() - without), 1e-3);
}

TEST(ImageTextContrastive, UninformedLossIsTheLogarithmOfTheBatch) {
  ContrastiveInput input = contrastive_input();
  for (auto* features :
       {&input.image_features, &input.text_features, &input.all_image_features, &input.all_text_features}) {
    features->zero_();
  }
  EXPECT_NEAR(image_text_contrastive(input).loss.item<double>(), std::log(3.0), 1e-12);
}

TEST(NegativeWeights, ReferenceRulesBothWays) {
  const NamedTensors plain = load_safetensors(test_data("models/stage1_forward/expected.safetensors"));
  const auto weights = [&](const std::string& side, NegativeRule rule) {
    return negative_weights(plain.at("sim_" + side), 0, {}, {}, rule);
  };
  for (const std::string side : {"i2t", "t2i"}) {
    expect_close(weights(side, NegativeRule::kMaskThenSoftmax), plain.at("weights_" + side), 1e-5, side);
    expect_close(weights(side, NegativeRule::kSoftmaxThenMask), plain.at("old_rule_weights_" + side), 1e-5, side);
  }
}

TEST(NegativeWeights, ReferenceWithPictureIds) {
  const NamedTensors expected = load_safetensors(test_data("models/stage1_forward_image_id/expected.safetensors"));
  const at::Tensor ids = torch::tensor({7, 3, 7, 9}, torch::kLong);
  const at::Tensor weights = negative_weights(expected.at("sim_i2t"), 0, ids, ids);
  expect_close(weights, expected.at("weights_i2t"), 1e-5, "weights_i2t");
  EXPECT_EQ(weights[0][2].item<double>(), 0.0) << "a text of the same picture is no negative";
}

TEST(HardNegatives, NeverTheOwnSampleAndMoreOftenTheMoreSimilar) {
  torch::manual_seed(11);
  const at::Tensor similarities = torch::tensor({{9.0, 2.0, 1.0}, {0.0, 9.0, 0.0}, {3.0, 0.0, 9.0}}, kDouble);
  const at::Tensor weights = negative_weights(similarities, 0, {}, {});
  int second = 0;
  for (int i = 0; i < 600; ++i) {
    const HardNegatives negatives = draw_hard_negatives(weights, weights);
    for (int b = 0; b < 3; ++b) {
      ASSERT_NE(negatives.text_rows[b].item<int>(), b);
      ASSERT_NE(negatives.image_rows[b].item<int>(), b);
    }
    second += negatives.text_rows[0].item<int>() == 1;
  }
  EXPECT_NEAR(second / 600.0, 1.0 / (1.0 + std::exp(-1.0)), 0.07);  // softmax of (2, 1)
}

TEST(HardNegatives, RowsThatAreNotFiniteAreDrawnFromEvenly) {
  torch::manual_seed(12);
  const double broken = std::numeric_limits<double>::quiet_NaN(), large = std::numeric_limits<double>::infinity();
  const at::Tensor similarities = torch::tensor({{1.0, 2.0, 1.0}, {broken, 1.0, 1.0}, {large, 1.0, large}}, kDouble);
  for (const auto rule : {NegativeRule::kMaskThenSoftmax, NegativeRule::kSoftmaxThenMask}) {
    const at::Tensor weights = negative_weights(similarities, 0, {}, {}, rule);
    at::Tensor counts = torch::zeros({3, 3}, kDouble);
    for (int i = 0; i < 300; ++i) {
      const at::Tensor rows = draw_hard_negatives(weights, weights).text_rows;
      for (int b = 0; b < 3; ++b) counts[b][rows[b].item<int>()] += 1.0;
    }
    EXPECT_EQ(counts[0][0].item<double>(), 0.0) << "other rows are drawn as ever";
    EXPECT_GT(counts.slice(0, 1).min().item<double>(), 60.0);
  }
}

TEST(HardNegatives, SameGeneratorSeedSameDraws) {
  const at::Tensor weights = torch::rand({16, 16}, kDouble);
  auto draw = [&] { return draw_hard_negatives(weights, weights, at::make_generator<at::CPUGeneratorImpl>(7)); };
  EXPECT_TRUE(torch::equal(draw().text_rows, draw().text_rows));
}

TEST(ImageTextMatching, GradientAndValue) {
  torch::manual_seed(5);
  const at::Tensor logits = torch::randn({6, 2}, kDouble);
  expect_numeric_gradient(logits, [](const at::Tensor& x) { return image_text_matching(x, 2); });
  const at::Tensor probabilities = logits.softmax(1).log();
  double expected = 0;
  for (int i = 0; i < 6; ++i) expected -= probabilities[i][i < 2 ? 1 : 0].item<double>() / 6;
  EXPECT_NEAR(image_text_matching(logits, 2).item<double>(), expected, 1e-12);
}

TEST(ImageTextMatching, QueriesVoteByTheirMean) {
  const at::Tensor votes = torch::tensor({{{1.0, 0.0}, {3.0, 2.0}}}, kDouble);
  EXPECT_TRUE(torch::equal(matching_logits(votes), torch::tensor({{2.0, 1.0}}, kDouble)));
}

TEST(ImageGroundedText, GradientEqualsCentralDifferences) {
  torch::manual_seed(6);
  const at::Tensor labels = torch::tensor({{7, 3, 2, -100}, {7, 1, -100, -100}}, torch::kLong);
  expect_numeric_gradient(torch::randn({2, 4, 8}, kDouble),
                          [&](const at::Tensor& x) { return image_grounded_text(x, labels); });
}

TEST(ImageGroundedText, IsTheSmoothedCrossEntropyOfTheNextToken) {
  torch::manual_seed(7);
  const at::Tensor logits = torch::randn({1, 3, 4}, kDouble);
  const at::Tensor labels = torch::tensor({{2, 1, -100}}, torch::kLong);
  const at::Tensor log_probabilities = logits[0][0].log_softmax(0);
  const double expected = -0.9 * log_probabilities[1].item<double>() - 0.1 * log_probabilities.mean().item<double>();
  EXPECT_NEAR(image_grounded_text(logits, labels).item<double>(), expected, 1e-12);
}

TEST(ImageGroundedText, WithoutLabelsTheLossIsZero) {
  const at::Tensor labels = torch::full({2, 3}, -100, torch::kLong);
  EXPECT_EQ(image_grounded_text(torch::randn({2, 3, 4}), labels).item<double>(), 0.0);
}

}  // namespace
}  // namespace blip2
