// The gradients of stage 1 the ways training computes them: in parts, in place, layers computed again, in half
// precision and beside other ranks (reference cases stage1_*).
#include <gtest/gtest.h>

#include <mutex>

#include "blip2/nn/activation_checkpointing.h"
#include "blip2/nn/autocast.h"
#include "blip2/nn/linear.h"
#include "models/stage1_reference.h"

namespace blip2 {
namespace {

/** What one of two ranks has of four pictures: its texts, cut to `length`, and its negatives. */
std::pair<RepresentationBatch, RepresentationOptions> half_of(const RepresentationBatch& all,
                                                              const RepresentationOptions& options, std::int64_t rank,
                                                              std::int64_t length) {
  const std::int64_t first = 2 * rank;
  RepresentationBatch batch;
  batch.pixels = all.pixels.narrow(0, first, 2);
  batch.text = {all.text.ids.narrow(0, first, 2).narrow(1, 0, length),
                all.text.mask.narrow(0, first, 2).narrow(1, 0, length)};
  RepresentationOptions own = options;
  own.negatives->image_rows = own.negatives->image_rows.narrow(0, first, 2);
  own.negatives->text_rows = own.negatives->text_rows.narrow(0, first, 2);
  return {batch, own};
}

/** Both ranks of the reference case, each in one pass or differentiated in parts as training does. */
void expect_two_ranks(bool in_parts) {
  SCOPED_TRACE(in_parts ? "in parts" : "as a whole");
  const NamedTensors expected = load_safetensors(test_data("models/stage1_two_rank/expected.safetensors"));
  const NamedTensors single = load_safetensors(test_data("models/stage1_forward/expected.safetensors"));
  const RepresentationBatch all = reference_batch();
  std::mutex mutex;
  run_thread_group(2, [&](const std::shared_ptr<ProcessGroup>& group) {
    const auto [batch, options] = half_of(all, reference_settings(single), group->rank(), all.text.ids.size(1));
    Blip2QFormer model = reference_model();
    RepresentationLosses losses;
    if (in_parts) {
      const GradientsInPlace in_place;
      const ActivationCheckpointing checkpointing;
      losses = model->add_gradients(batch, options, group);
    } else {
      losses = model->losses(batch, options, group);
      losses.total.backward();
    }
    const std::lock_guard lock(mutex);
    const std::string rank = "rank" + std::to_string(group->rank()) + ".";
    expect_losses(losses, expected, rank);
    EXPECT_GT(expect_gradients(*model, expected, 1e-6, rank + "grad."), 90);
  });
}

TEST(Blip2QFormerGradients, TwoRanksEqualLavisOnTwoRanks) {
  expect_two_ranks(/*in_parts=*/false);
  expect_two_ranks(/*in_parts=*/true);
}

TEST(Blip2QFormerGradients, GradientsAreDifferenceQuotientsOfTheLosses) {
  // Along one random direction in all parameters; contrast's keys carry no gradient (LAVIS 3), so that its part cannot
  // be compared here and is in the losses' own tests.
  const NamedTensors expected = load_safetensors(test_data("models/stage1_forward/expected.safetensors"));
  Blip2QFormer model = reference_model();
  const RepresentationBatch batch = reference_batch();
  const RepresentationOptions options = reference_settings(expected);
  const auto loss = [&] {
    const auto losses = model->losses(batch, options, single_process_group());
    return losses.matching + losses.generation;
  };
  loss().backward();
  torch::manual_seed(4);
  std::vector<std::pair<at::Tensor, at::Tensor>> directions;
  double slope = 0;
  for (auto& parameter : model->parameters()) {
    if (!parameter.grad().defined()) continue;
    directions.emplace_back(parameter, torch::randn_like(parameter));
    slope += (directions.back().second * parameter.grad()).sum().item<double>();
  }
  const torch::NoGradGuard no_grad;
  const auto value = [&](double distance) {
    for (auto& [parameter, direction] : directions) parameter.add_(direction, distance);
    const double result = loss().item<double>();
    for (auto& [parameter, direction] : directions) parameter.sub_(direction, distance);
    return result;
  };
  constexpr double kStep = 1e-4;
  const double numeric = (8 * (value(kStep) - value(-kStep)) - (value(2 * kStep) - value(-2 * kStep))) / (12 * kStep);
  EXPECT_NEAR(slope, numeric, 1e-7 * std::abs(numeric));
}

TEST(Blip2QFormerGradients, GradientsInPlaceAreTheSame) {
  const NamedTensors expected = load_safetensors(test_data("models/stage1_forward/expected.safetensors"));
  Blip2QFormer model = reference_model();
  {
    const GradientsInPlace in_place;
    for (int i = 0; i < 2; ++i) {  // two micro-batches add up
      model->losses(reference_batch(), reference_settings(expected), single_process_group()).total.backward();
    }
  }
  for (auto& parameter : model->parameters()) {
    if (parameter.grad().defined()) parameter.mutable_grad().div_(2);
  }
  EXPECT_GT(expect_gradients(*model, expected, 1e-6), 90);
}

TEST(Blip2QFormerGradients, DifferentiatingInPartsEqualsLavis) {
  const NamedTensors expected = load_safetensors(test_data("models/stage1_forward/expected.safetensors"));
  for (const bool checkpointed : {false, true}) {
    Blip2QFormer model = reference_model();
    const ActivationCheckpointing checkpointing(checkpointed);
    const GradientsInPlace in_place;
    for (int i = 0; i < 2; ++i) {
      const auto losses =
          model->add_gradients(reference_batch(), reference_settings(expected), single_process_group(), 0.5);
      expect_losses(losses, expected);
      EXPECT_FALSE(losses.total.requires_grad());
    }
    EXPECT_GT(expect_gradients(*model, expected, 1e-6), 90);
  }
}

TEST(Blip2QFormerGradients, PartsDifferentiateAnEncoderThatLearnsAlong) {
  const NamedTensors expected = load_safetensors(test_data("models/stage1_forward/expected.safetensors"));
  const auto gradients = [&](bool in_parts) {
    Blip2QFormer model = reference_model(/*frozen_vision=*/false);
    const ActivationCheckpointing checkpointing(in_parts);
    if (in_parts) {
      model->add_gradients(reference_batch(), reference_settings(expected), single_process_group());
    } else {
      model->losses(reference_batch(), reference_settings(expected), single_process_group()).total.backward();
    }
    NamedTensors found;
    for (const auto& item : model->named_parameters()) found[item.key()] = item.value().grad();
    return found;
  };
  const NamedTensors whole = gradients(false), parts = gradients(true);
  for (const auto& [name, gradient] : whole) {
    ASSERT_EQ(gradient.defined(), parts.at(name).defined()) << name;
    EXPECT_TRUE(!gradient.defined() || torch::allclose(parts.at(name), gradient, 1e-9, 1e-12)) << name;
  }
}

TEST(Blip2QFormerGradients, RanksWithTextsOfDifferentLengthEqualOneRank) {
  const NamedTensors single = load_safetensors(test_data("models/stage1_forward/expected.safetensors"));
  RepresentationBatch all = reference_batch();
  all.text.mask.slice(0, 2).slice(1, 4).zero_();  // the second rank's texts end early, and it does not know of more
  const RepresentationOptions options = reference_settings(single);
  const auto expected = reference_model()->losses(all, options, single_process_group());
  std::mutex mutex;
  double total = 0;
  run_thread_group(2, [&](const std::shared_ptr<ProcessGroup>& group) {
    const auto [batch, own] = half_of(all, options, group->rank(), group->rank() == 0 ? all.text.ids.size(1) : 4);
    const auto losses = reference_model()->add_gradients(batch, own, group);
    const std::lock_guard lock(mutex);
    total += (losses.contrastive + losses.matching).item<double>() / 2;
  });
  EXPECT_NEAR(total, (expected.contrastive + expected.matching).item<double>(), 1e-9);
}

TEST(Blip2QFormerGradients, HalfPrecisionStaysNear) {
  const NamedTensors expected = load_safetensors(test_data("models/stage1_forward/expected.safetensors"));
  Blip2QFormer model = reference_model();
  model->to(torch::kFloat);
  RepresentationBatch batch = reference_batch();
  batch.pixels = batch.pixels.to(torch::kFloat);
  for (const Precision precision : {Precision::kBFloat16, Precision::kFloat16}) {
    model->zero_grad();
    const Autocast half(precision, at::kCPU);
    const auto losses = model->add_gradients(batch, reference_settings(expected), single_process_group());
    EXPECT_EQ(losses.total.scalar_type(), at::kFloat);
    EXPECT_NEAR(losses.total.item<double>(), expected.at("loss").item<double>(), 0.05);
    EXPECT_NE(losses.total.item<double>(), expected.at("loss").item<double>());
    int compared = 0;
    for (const auto& item : model->named_parameters()) {
      const auto found = expected.find("grad." + item.key());
      if (found == expected.end() || has_zero_gradient(item.key())) continue;
      const at::Tensor &gradient = item.value().grad(), exact = found->second.to(at::kFloat);
      ASSERT_TRUE(gradient.defined()) << item.key();
      EXPECT_EQ(gradient.scalar_type(), at::kFloat) << item.key();
      EXPECT_LT((gradient - exact).norm().item<double>(), 0.1 * exact.norm().item<double>()) << item.key();
      ++compared;
    }
    EXPECT_GT(compared, 90);
  }
}

}  // namespace
}  // namespace blip2
