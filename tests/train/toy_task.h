// A task small enough to train in milliseconds: a frozen and two trained layers with dropout between, which draws from
// torch's generator, on batches that are a function of their position.
#pragma once

#include <torch/torch.h>

#include <functional>

#include "blip2/core/random.h"
#include "blip2/nn/activation_checkpointing.h"
#include "blip2/train/train_task.h"

namespace blip2 {

class ToyModelImpl : public torch::nn::Module {
 public:
  ToyModelImpl() {
    frozen = register_module("frozen", torch::nn::Linear(4, 16));
    hidden = register_module("hidden", torch::nn::Linear(16, 16));
    output = register_module("output", torch::nn::Linear(16, 1));
    for (auto& parameter : frozen->parameters()) parameter.requires_grad_(false);
  }
  at::Tensor forward(const at::Tensor& input) {
    const at::Tensor given = torch::tanh(hidden->forward(torch::tanh(frozen->forward(input))));
    const at::Tensor features = checkpointed({given}, [this](const std::vector<at::Tensor>& inputs) {
      ++runs;
      return torch::dropout(inputs[0], dropout, is_training());
    });
    return output->forward(features);
  }

  torch::nn::Linear frozen{nullptr}, hidden{nullptr}, output{nullptr};
  double dropout = 0.2;
  int runs = 0;
};
TORCH_MODULE(ToyModel);

class ToyTask : public TrainTask {
 public:
  ToyTask() {
    torch::manual_seed(5);
    model = ToyModel();
  }

  torch::nn::Module& module() override { return *model; }

  std::int64_t next_batch(std::int64_t position) override {
    if (before_batch) before_batch(position);
    std::vector<float> values;
    for (std::int64_t row = position * batch_size; row < (position + 1) * batch_size; ++row) {
      Random random({9, static_cast<std::uint64_t>(row)});
      for (int i = 0; i < 4; ++i) values.push_back(static_cast<float>(random.uniform(-1, 1)));
    }
    input_ = torch::tensor(values).view({batch_size, 4});
    return batch_size;
  }

  StepLosses add_gradients(std::int64_t step, double scale) override {
    if (seen) seen(input_);
    const auto error = model->forward(input_) - input_.sum(1, true);
    StepLosses losses;
    losses.parts = {{"square", error.square().mean()}, {"absolute", error.abs().mean() * 0.1}};
    losses.total = losses.parts[0].second + losses.parts[1].second;
    if (is_broken && is_broken(step)) losses.total = losses.total * NAN;
    counter += 1;
    losses = differentiated(losses, scale);
    if (scale * 2 >= overflows_from_scale) model->hidden->bias.mutable_grad().fill_(INFINITY);
    return losses;
  }

  NamedTensors inspect_batch() const override { return {{"input", input_}}; }

  Metrics validate(std::int64_t) override {
    if (on_validate) on_validate();
    return {{"noise", torch::rand({1}).item<double>()}};
  }

  NamedTensors state() const override { return {{"counter", counter.clone()}}; }
  void load_state(const NamedTensors& state) override { counter = state.at("counter").clone(); }

  ToyModel model{nullptr};
  std::int64_t batch_size = 4;
  at::Tensor counter = torch::zeros({}, at::kLong);
  std::function<void(std::int64_t position)> before_batch;
  std::function<bool(std::int64_t step)> is_broken;
  double overflows_from_scale = INFINITY;  // of losses in two micro-batches: gradients are infinite
  std::function<void()> on_validate;
  std::function<void(const at::Tensor& input)> seen;

 private:
  at::Tensor input_;
};

}  // namespace blip2
