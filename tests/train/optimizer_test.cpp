#include "blip2/train/optimizer.h"

#include <cmath>
#include <limits>

#include "blip2/checkpoint/module_state.h"
#include "support/expect_error.h"

namespace blip2 {
namespace {

at::Tensor leaf(std::initializer_list<double> values, at::ScalarType dtype = at::kFloat) {
  return torch::tensor(at::ArrayRef<double>(values), dtype).requires_grad_(true);
}

void set_gradient(const at::Tensor& parameter, const at::Tensor& gradient) {
  parameter.mutable_grad() = gradient.to(parameter.scalar_type());
}

// Algorithm 2 of Loshchilov and Hutter, one number at a time.
struct ScalarAdamW {
  double value, decay, m = 0, v = 0;
  int t = 0;
  void step(double gradient, double rate, const OptimizerOptions& options) {
    ++t;
    value -= rate * decay * value;
    m = options.beta1 * m + (1 - options.beta1) * gradient;
    v = options.beta2 * v + (1 - options.beta2) * gradient * gradient;
    const double m_hat = m / (1 - std::pow(options.beta1, t));
    const double v_hat = v / (1 - std::pow(options.beta2, t));
    value -= rate * m_hat / (std::sqrt(v_hat) + options.epsilon);
  }
};

TEST(AdamW, EqualsTheWrittenOutAlgorithmInDouble) {
  OptimizerOptions options;
  options.weight_decay = 0.1;
  options.beta2 = 0.98;
  options.epsilon = 1e-3;  // large enough that its place outside the root shows
  const auto weight = torch::tensor({{0.5, -2.0}, {3.0, 1e-3}}, at::kDouble).requires_grad_(true);
  const auto bias = leaf({1.0, -1.0}, at::kDouble);
  AdamW optimizer({{"layer.weight", weight}, {"layer.bias", bias}}, options);
  std::vector<ScalarAdamW> expected;
  for (const double value : {0.5, -2.0, 3.0, 1e-3}) expected.push_back({value, 0.1});
  for (const double value : {1.0, -1.0}) expected.push_back({value, 0.0});

  for (int step = 0; step < 20; ++step) {
    std::vector<double> gradient;
    for (int i = 0; i < 6; ++i) gradient.push_back(0.01 * std::sin(step * 1.7 + i));
    const auto all = torch::tensor(gradient, at::kDouble);
    set_gradient(weight, all.narrow(0, 0, 4).view({2, 2}));
    set_gradient(bias, all.narrow(0, 4, 2));
    const double rate = 0.01 * (step + 1);
    optimizer.step(rate);
    for (int i = 0; i < 6; ++i) expected[i].step(gradient[i], rate, options);
  }
  const auto found = torch::cat({weight.detach().flatten(), bias.detach()});
  for (int i = 0; i < 6; ++i) EXPECT_NEAR(found[i].item<double>(), expected[i].value, 1e-12) << i;
}

TEST(AdamW, FollowsTheOptimizerOfLibTorch) {
  torch::manual_seed(1);
  torch::nn::Linear ours(33, 17), theirs(33, 17);
  {
    const torch::NoGradGuard no_grad;
    theirs->weight.copy_(ours->weight);
    theirs->bias.copy_(ours->bias);
  }
  AdamW optimizer(trainable_parameters(*ours), {});
  using Options = torch::optim::AdamWOptions;
  std::vector<torch::optim::OptimizerParamGroup> groups;
  groups.emplace_back(std::vector<at::Tensor>{theirs->weight},
                      std::make_unique<Options>(Options(1e-3).weight_decay(0.05)));
  groups.emplace_back(std::vector<at::Tensor>{theirs->bias}, std::make_unique<Options>(Options(1e-3).weight_decay(0)));
  torch::optim::AdamW reference(groups, Options(1e-3));
  for (int step = 0; step < 20; ++step) {
    const auto input = torch::randn({8, 33});
    for (auto* linear : {&ours, &theirs}) {
      (*linear)->zero_grad();
      (*linear)->forward(input).square().mean().backward();
    }
    optimizer.step(1e-3);
    reference.step();
  }
  EXPECT_TRUE(at::allclose(ours->weight, theirs->weight, 1e-5, 1e-7));
  EXPECT_TRUE(at::allclose(ours->bias, theirs->bias, 1e-5, 1e-7));
}

TEST(AdamW, DecaysTheTemperatureButNeitherBiasesNorOneDimensionalWeights) {
  OptimizerOptions options;
  EXPECT_TRUE(is_decayed("temperature", at::zeros({}), options));
  EXPECT_TRUE(is_decayed("query_tokens", at::zeros({1, 32, 8}), options));
  EXPECT_FALSE(is_decayed("qformer.layernorm.weight", at::zeros({8}), options));
  EXPECT_FALSE(is_decayed("head.bias", at::zeros({2, 2}), options));
  options.decay_temperature = false;
  EXPECT_FALSE(is_decayed("temperature", at::zeros({}), options));
}

TEST(AdamW, UpdatesATensorRegisteredTwiceOnceAndAFrozenOneNever) {
  const auto shared = leaf({2.0});
  const auto frozen = torch::tensor({1.0f});
  OptimizerOptions options;
  options.epsilon = 0;
  AdamW optimizer({{"a", shared}, {"b", shared}, {"frozen", frozen}}, options);
  EXPECT_EQ(optimizer.parameter_count(), 1);
  set_gradient(shared, torch::tensor({5.0f}));
  optimizer.step(0.5);
  EXPECT_FLOAT_EQ(shared[0].item<float>(), 1.5f);  // the first step of Adam moves by exactly the rate
  EXPECT_EQ(optimizer.state().count("frozen.exp_avg"), 0u);
}

TEST(AdamW, ScalesTheRateOfEachParameterByName) {
  const auto low = leaf({1.0}), high = leaf({1.0});
  OptimizerOptions options;
  options.epsilon = 0;
  AdamW optimizer({{"block.0", low}, {"block.1", high}}, options,
                  [](const std::string& name) { return name == "block.0" ? 0.25 : 1.0; });
  for (const auto& parameter : {low, high}) set_gradient(parameter, torch::tensor({1.0f}));
  optimizer.step(0.5);
  EXPECT_FLOAT_EQ(low[0].item<float>(), 0.875f);
  EXPECT_FLOAT_EQ(high[0].item<float>(), 0.5f);
}

TEST(AdamW, ClipsByTheNormOfAllGradientsTogether) {
  const auto a = leaf({0.0}), b = leaf({0.0, 0.0});
  AdamW optimizer({{"a", a}, {"b", b}}, {});
  const auto set = [&] {
    set_gradient(a, torch::tensor({3.0f}));
    set_gradient(b, torch::tensor({0.0f, 4.0f}));
  };
  set();
  EXPECT_NEAR(optimizer.clip_gradients(0), 5.0, 1e-6);
  EXPECT_FLOAT_EQ(a.grad()[0].item<float>(), 3.0f);
  EXPECT_NEAR(optimizer.clip_gradients(10), 5.0, 1e-6);
  EXPECT_FLOAT_EQ(a.grad()[0].item<float>(), 3.0f);
  EXPECT_NEAR(optimizer.clip_gradients(1), 5.0, 1e-6);
  EXPECT_NEAR(a.grad()[0].item<float>(), 0.6, 1e-6);
  EXPECT_NEAR(b.grad()[1].item<float>(), 0.8, 1e-6);
}

TEST(AdamW, LeavesAParameterWithoutGradientAlone) {
  const auto used = leaf({1.0}), unused = torch::tensor({{1.0f}}).requires_grad_(true);
  AdamW optimizer({{"used", used}, {"unused", unused}}, {});
  set_gradient(used, torch::tensor({1.0f}));
  optimizer.step(0.1);
  EXPECT_EQ(unused.item<float>(), 1.0f);
  EXPECT_EQ(optimizer.state().at("unused.step").item<float>(), 0.0f);
  EXPECT_EQ(optimizer.state().at("used.step").item<float>(), 1.0f);
}

TEST(AdamW, ContinuesBitForBitFromItsState) {
  const auto run = [](int stop_after) {
    auto weight = torch::full({3, 3}, 0.5f).requires_grad_(true);
    auto optimizer = std::make_unique<AdamW>(NamedTensors{{"weight", weight}}, OptimizerOptions{});
    for (int step = 0; step < 10; ++step) {
      if (step == stop_after) {
        NamedTensors saved;
        for (const auto& [name, tensor] : optimizer->state()) saved[name] = tensor.clone();
        weight = weight.detach().clone().requires_grad_(true);
        optimizer = std::make_unique<AdamW>(NamedTensors{{"weight", weight}}, OptimizerOptions{});
        optimizer->load_state(saved);
      }
      set_gradient(weight, torch::arange(9).view({3, 3}).sin() * (step + 1));
      optimizer->step(1e-2);
    }
    return weight.detach();
  };
  EXPECT_TRUE(at::equal(run(-1), run(4)));
}

TEST(AdamW, ListsEverythingThatDoesNotFitInOneSentence) {
  AdamW optimizer({{"a", leaf({1.0, 2.0})}}, {});
  const NamedTensors state = {
      {"a.exp_avg", at::zeros({3})}, {"a.exp_avg_sq", at::zeros({2})}, {"b.step", at::zeros({})}};
  EXPECT_USER_ERROR(
      optimizer.load_state(state),
      "the optimizer state does not fit the model ('a.exp_avg' is Float [3] instead of Float [2], 'a.step' "
      "is missing, 'b.step' belongs to no trained parameter)");
}

TEST(AdamW, RefusesOptionsOutOfRange) {
  OptimizerOptions options;
  options.beta2 = 1.0;
  EXPECT_USER_ERROR(AdamW({}, options), "'beta2' must be at least 0 and below 1, found 1");
  options = {};
  options.weight_decay = std::numeric_limits<double>::quiet_NaN();
  EXPECT_USER_ERROR(AdamW({}, options), "'weight_decay' must be at least 0");
}

}  // namespace
}  // namespace blip2
