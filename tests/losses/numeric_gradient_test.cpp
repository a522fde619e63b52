// Every loss of stage 1 against difference quotients, in double: gradients from nothing but values.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <functional>

#include "blip2/losses/image_grounded_text.h"
#include "blip2/losses/image_text_contrastive.h"
#include "blip2/losses/image_text_matching.h"

namespace blip2 {
namespace {

using Loss = std::function<at::Tensor(const std::vector<at::Tensor>&)>;

/** Central differences of fourth order in each of the inputs' numbers. */
void expect_numeric_gradients(const Loss& loss, std::vector<at::Tensor> inputs) {
  for (auto& input : inputs) input = input.to(torch::kDouble).detach().clone().requires_grad_();
  const auto gradients = torch::autograd::grad({loss(inputs)}, inputs);
  const torch::NoGradGuard no_grad;
  constexpr double kStep = 1e-3;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    at::Tensor flat = inputs[i].view({-1});
    const at::Tensor gradient = gradients[i].reshape({-1});
    for (std::int64_t at = 0; at < flat.numel(); ++at) {
      const double before = flat[at].item<double>();
      const auto value = [&](double steps) {
        flat[at] = before + steps * kStep;
        return loss(inputs).item<double>();
      };
      const double numeric = (8 * (value(1) - value(-1)) - (value(2) - value(-2))) / (12 * kStep);
      flat[at] = before;
      EXPECT_NEAR(gradient[at].item<double>(), numeric, 1e-9) << "input " << i << ", number " << at;
    }
  }
}

ContrastiveInput contrastive_input(const std::vector<at::Tensor>& inputs, const at::Tensor& keys_of_images,
                                   const at::Tensor& keys_of_texts, const at::Tensor& ids) {
  ContrastiveInput input;
  input.image_features = inputs[0];
  input.text_features = inputs[1];
  input.temperature = inputs[2];
  input.all_image_features = keys_of_images;
  input.all_text_features = keys_of_texts;
  input.first_row = 1;
  input.image_ids = ids.defined() ? ids.slice(0, 1, 4) : ids;
  input.all_image_ids = ids;
  return input;
}

TEST(NumericGradients, Contrast) {
  torch::manual_seed(1);
  const at::Tensor images = torch::randn({5, 2, 3}, torch::kDouble), texts = torch::randn({5, 3}, torch::kDouble);
  for (const at::Tensor& ids : {at::Tensor(), torch::tensor({4, 2, 4, 7, 2}, torch::kLong)}) {
    for (const double smoothing : {0.0, 0.1}) {
      expect_numeric_gradients(
          [&](const auto& inputs) {
            return image_text_contrastive(contrastive_input(inputs, images, texts, ids), smoothing).loss;
          },
          {images.slice(0, 1, 4), texts.slice(0, 1, 4), torch::tensor(0.7)});
    }
  }
}

TEST(NumericGradients, Matching) {
  torch::manual_seed(2);
  expect_numeric_gradients([](const auto& inputs) { return image_text_matching(matching_logits(inputs[0]), 2); },
                           {torch::randn({6, 3, 2})});
}

TEST(NumericGradients, Generation) {
  torch::manual_seed(3);
  const at::Tensor labels = torch::tensor({{9, 3, 1, -100}, {9, 0, -100, -100}}, torch::kLong);
  for (const double smoothing : {0.0, 0.1}) {
    expect_numeric_gradients([&](const auto& inputs) { return image_grounded_text(inputs[0], labels, smoothing); },
                             {torch::randn({2, 4, 5})});
  }
}

}  // namespace
}  // namespace blip2
