#include "blip2/nn/activation_checkpointing.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "blip2/nn/autocast.h"
#include "blip2/nn/dropout.h"
#include "blip2/nn/linear.h"

namespace blip2 {
namespace {

/** A part with parameters, dropout and a second input, and how often it was computed. */
struct Part {
  Part() { torch::manual_seed(1); }
  at::Tensor operator()(const std::vector<at::Tensor>& inputs) {
    ++runs;
    const at::Tensor x = dropout(torch::tanh(layer(inputs[0])), 0.3);
    return inputs[1].defined() ? x * inputs[1] : x;
  }
  Linear layer{6, 6};
  int runs = 0;
};

struct Result {
  at::Tensor output, x, factor, weight;
};

Result compute(Part& part, bool with_factor) {
  torch::manual_seed(2);
  at::Tensor x = torch::randn({4, 6}).requires_grad_(), factor;
  if (with_factor) factor = torch::randn({4, 6}).requires_grad_();
  part.layer->weight.mutable_grad().reset();
  const auto segment = [&part](const std::vector<at::Tensor>& inputs) { return part(inputs); };
  const at::Tensor output = checkpointed({checkpointed({x, factor}, segment), factor}, segment);
  torch::rand({3});  // what is drawn in between must not matter
  output.square().sum().backward();
  return {output.detach(), x.grad(), with_factor ? factor.grad() : at::Tensor(), part.layer->weight.grad().clone()};
}

void expect_equal(const Result& a, const Result& b) {
  EXPECT_TRUE(torch::equal(a.output, b.output));
  EXPECT_TRUE(torch::equal(a.x, b.x));
  EXPECT_EQ(a.factor.defined(), b.factor.defined());
  if (a.factor.defined()) {
    EXPECT_TRUE(torch::equal(a.factor, b.factor));
  }
  EXPECT_TRUE(torch::equal(a.weight, b.weight));
}

TEST(ActivationCheckpointing, ComputesTwiceAndChangesNoBit) {
  for (const bool with_factor : {true, false}) {
    Part part;
    const Result kept = compute(part, with_factor);
    EXPECT_EQ(part.runs, 2);
    const ActivationCheckpointing checkpointing;
    expect_equal(compute(part, with_factor), kept);
    EXPECT_EQ(part.runs, 2 + 4);
  }
}

TEST(ActivationCheckpointing, KnowsTheCircumstancesOfTheFirstRun) {
  Part part;
  torch::manual_seed(2);
  const at::Tensor x = torch::randn({4, 6}).requires_grad_();
  const auto forward = [&](bool again) {
    const GradientsInPlace in_place;
    const Autocast half(Precision::kBFloat16, at::kCPU);
    const ActivationCheckpointing checkpointing(again);
    return checkpointed({x, {}}, [&part](const auto& inputs) { return part(inputs); });
  };
  std::vector<std::vector<at::Tensor>> found;
  for (const bool again : {false, true}) {
    torch::manual_seed(3);
    // Neither guard lives any more when the gradients are computed.
    const at::Tensor y = forward(again);
    const auto asked = torch::autograd::grad({at_least_float(y).square().sum()}, {x, part.layer->weight}, {}, {}, {},
                                             /*allow_unused=*/true);
    EXPECT_FALSE(asked[1].defined());  // it is added in place
    found.push_back({y.detach(), asked[0], part.layer->weight.grad().clone(), part.layer->bias.grad().clone()});
    part.layer->zero_grad();
  }
  for (std::size_t i = 0; i < found[0].size(); ++i) EXPECT_TRUE(torch::equal(found[0][i], found[1][i])) << i;
}

TEST(ActivationCheckpointing, LeavesRandomNumbersWhereTheyWere) {
  Part part;
  compute(part, true);
  const at::Tensor next = torch::rand({5});
  const ActivationCheckpointing checkpointing;
  compute(part, true);
  EXPECT_TRUE(torch::equal(torch::rand({5}), next));
}

TEST(ActivationCheckpointing, IsOffWithoutGradientsAndWhereNobodyAsked) {
  Part part;
  const at::Tensor x = torch::randn({4, 6}).requires_grad_();
  EXPECT_FALSE(is_checkpointed({x}));
  const ActivationCheckpointing checkpointing;
  EXPECT_TRUE(is_checkpointed({at::Tensor(), x}));
  EXPECT_FALSE(is_checkpointed({x.detach()}));
  {
    const ActivationCheckpointing not_here(false);
    EXPECT_FALSE(is_checkpointed({x}));
  }
  const torch::NoGradGuard no_grad;
  EXPECT_FALSE(is_checkpointed({x}));
}

}  // namespace
}  // namespace blip2
