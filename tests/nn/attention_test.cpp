#include "blip2/nn/attention.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "blip2/nn/activation.h"
#include "support/expect_error.h"

namespace blip2 {
namespace {

struct Case {
  at::Tensor query, key, value, mask;
};

Case make_case() {
  torch::manual_seed(0);
  const auto options = torch::dtype(torch::kDouble);
  return {torch::randn({2, 3, 4, 5}, options), torch::randn({2, 3, 6, 5}, options), torch::randn({2, 3, 6, 5}, options),
          additive_mask(torch::rand({2, 1, 4, 6}) > 0.3, torch::kDouble)};
}

TEST(Attention, EqualsTheWrittenOutFormula) {
  const Case c = make_case();
  const auto expected = attention_probabilities(c.query, c.key, c.mask, 0.25).matmul(c.value);
  EXPECT_TRUE(torch::allclose(attention(c.query, {c.key, c.value}, c.mask, 0.25), expected, 1e-12, 1e-12));
}

TEST(Attention, GradientsEqualTheWrittenOutFormula) {
  const Case c = make_case();
  const auto query = c.query.clone().requires_grad_(), key = c.key.clone().requires_grad_();
  attention(query, {key, c.value}, c.mask, 0.25).square().sum().backward();
  const auto query2 = c.query.clone().requires_grad_(), key2 = c.key.clone().requires_grad_();
  attention_probabilities(query2, key2, c.mask, 0.25).matmul(c.value).square().sum().backward();
  EXPECT_TRUE(torch::allclose(query.grad(), query2.grad(), 1e-10, 1e-12));
  EXPECT_TRUE(torch::allclose(key.grad(), key2.grad(), 1e-10, 1e-12));
}

TEST(Attention, HiddenKeysDoNotMatter) {
  const Case c = make_case();
  const auto visible = torch::tensor({1, 1, 0, 1, 1, 0}).view({1, 1, 1, 6});
  const auto mask = additive_mask(visible, torch::kDouble);
  const auto before = attention(c.query, {c.key, c.value}, mask, 1.0);
  c.key.select(2, 2).fill_(100.0);
  c.value.select(2, 5).fill_(-7.0);
  EXPECT_TRUE(torch::equal(attention(c.query, {c.key, c.value}, mask, 1.0), before));
}

TEST(Attention, RowThatSeesNothingIsFinite) {
  const Case c = make_case();
  const auto mask = additive_mask(torch::zeros({2, 1, 4, 6}), torch::kFloat);
  const auto out =
      attention(c.query.to(torch::kFloat), {c.key.to(torch::kFloat), c.value.to(torch::kFloat)}, mask, 1.0);
  EXPECT_TRUE(out.isfinite().all().item<bool>());
}

TEST(Attention, ProbabilitiesSumToOne) {
  const Case c = make_case();
  const auto sums = attention_probabilities(c.query, c.key, c.mask, 0.5).sum(-1);
  EXPECT_TRUE(torch::allclose(sums, torch::ones_like(sums)));
}

TEST(SplitHeads, MergeIsItsInverse) {
  const auto x = torch::arange(2 * 3 * 8).view({2, 3, 8});
  const auto heads = split_heads(x, 4);
  EXPECT_EQ(heads.sizes(), (std::vector<std::int64_t>{2, 4, 3, 2}));
  EXPECT_EQ(heads.index({1, 2, 0, 1}).item<std::int64_t>(), x.index({1, 0, 5}).item<std::int64_t>());
  EXPECT_TRUE(torch::equal(merge_heads(heads), x));
}

TEST(AdditiveMask, IsZeroWhereVisibleAndTheLowestFiniteValueElsewhere) {
  const auto mask = additive_mask(torch::tensor({1, 0}), torch::kHalf);
  EXPECT_EQ(mask[0].item<float>(), 0.0F);
  EXPECT_EQ(mask[1].item<float>(), -65504.0F);
}

TEST(Activation, ValuesOfEachFunctionAtOne) {
  const auto one = torch::ones({1}, torch::kDouble);
  EXPECT_NEAR(activate(one, activation_from_name("gelu")).item<double>(), 0.8413447460685429, 1e-12);
  EXPECT_NEAR(activate(one, activation_from_name("gelu_new")).item<double>(), 0.8411919906082768, 1e-12);
  EXPECT_NEAR(activate(one, activation_from_name("quick_gelu")).item<double>(), 0.8457957659328212, 1e-12);
  EXPECT_NEAR(activate(-one, activation_from_name("relu")).item<double>(), 0.0, 0);
  EXPECT_NEAR(activate(one, activation_from_name("silu")).item<double>(), 0.7310585786300049, 1e-12);
}

TEST(Activation, UnknownNameIsRefused) {
  EXPECT_USER_ERROR(activation_from_name("geglu"), "unknown activation 'geglu': expected gelu, gelu_new, quick_gelu");
}

}  // namespace
}  // namespace blip2
