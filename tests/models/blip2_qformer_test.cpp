// Stage 1 against LAVIS: values, losses and every gradient (reference cases stage1_*).
#include "blip2/models/blip2_qformer.h"

#include <gtest/gtest.h>

#include <mutex>

#include "blip2/core/config.h"
#include "blip2/losses/image_grounded_text.h"
#include "blip2/nn/activation_checkpointing.h"
#include "blip2/nn/autocast.h"
#include "blip2/nn/linear.h"
#include "blip2/qformer/attention_mask.h"
#include "support/reference.h"

namespace blip2 {
namespace {

constexpr std::int64_t kDecoderStart = 172;

Blip2Options reference_options() {
  Blip2Options options;
  read_config(load_json(test_data("models/stage1_model/config.json")), options, "config.json", UnknownKeys::kIgnore);
  return options;
}

Blip2QFormer reference_model(bool frozen_vision = true) {
  Blip2QFormer model(reference_options());
  fill_parameters(*model, load_safetensors(test_data("models/stage1_model/model.safetensors")));
  model->to(torch::kDouble);
  if (frozen_vision) model->vision_model->freeze();
  return model;
}

RepresentationBatch reference_batch() {
  const NamedTensors inputs = load_safetensors(test_data("models/stage1_forward/inputs.safetensors"));
  RepresentationBatch batch;
  batch.pixels = inputs.at("image").to(torch::kDouble);
  batch.text = {inputs.at("input_ids"), inputs.at("attention_mask")};
  return batch;
}

RepresentationOptions reference_settings(const NamedTensors& expected) {
  RepresentationOptions options;
  options.decoder_start_id = kDecoderStart;
  options.negatives = HardNegatives{expected.at("neg_image_idx"), expected.at("neg_text_idx")};
  return options;
}

void expect_losses(const RepresentationLosses& losses, const NamedTensors& expected, const std::string& prefix = "") {
  expect_close(losses.contrastive, expected.at(prefix + "loss_itc"), 1e-6, "loss_itc");
  expect_close(losses.matching, expected.at(prefix + "loss_itm"), 1e-6, "loss_itm");
  expect_close(losses.generation, expected.at(prefix + "loss_lm"), 1e-6, "loss_lm");
  expect_close(losses.total, expected.at(prefix + "loss"), 1e-6, "loss");
}

TEST(Blip2QFormer, LossesAndGradientsEqualLavis) {
  const NamedTensors expected = load_safetensors(test_data("models/stage1_forward/expected.safetensors"));
  Blip2QFormer model = reference_model();
  const auto losses = model->losses(reference_batch(), reference_settings(expected), single_process_group());
  expect_losses(losses, expected);
  expect_close(losses.image_to_text, expected.at("sim_i2t"), 1e-6, "sim_i2t");
  expect_close(losses.text_to_image, expected.at("sim_t2i"), 1e-6, "sim_t2i");
  losses.total.backward();
  EXPECT_GT(expect_gradients(*model, expected, 1e-6), 90);
}

TEST(Blip2QFormer, PictureIdsAndTheUnfrozenTowerEqualLavis) {
  const NamedTensors expected = load_safetensors(test_data("models/stage1_forward_image_id/expected.safetensors"));
  Blip2QFormer model = reference_model(/*frozen_vision=*/false);
  RepresentationBatch batch = reference_batch();
  batch.image_ids = torch::tensor({7, 3, 7, 9}, torch::kLong);
  const auto losses = model->losses(batch, reference_settings(expected), single_process_group());
  expect_losses(losses, expected);
  // The reference has no key bias in the tower: its third of the gradient is not comparable.
  losses.total.backward();
  torch::NoGradGuard no_grad;
  for (auto& item : model->vision_model->named_parameters()) {
    if (item.key().find("qkv.bias") != std::string::npos) item.value().mutable_grad().slice(0, 40, 80).zero_();
  }
  EXPECT_GT(expect_gradients(*model, expected, 1e-6), 120);
}

TEST(Blip2QFormer, EveryStepOfTheForwardPassEqualsLavis) {
  const NamedTensors expected = load_safetensors(test_data("models/stage1_forward/expected.safetensors"));
  Blip2QFormer model = reference_model();
  const RepresentationBatch batch = reference_batch();
  const ImageQueries image = model->encode_image(batch.pixels);
  expect_close(model->vision_model->encode(batch.pixels), expected.at("vit_output"), 1e-6, "vit_output");
  expect_close(image.image_tokens, expected.at("image_embeds"), 1e-6, "image_embeds");
  expect_close(image.query_output, expected.at("query_output"), 1e-6, "query_output");
  expect_close(model->image_features(image.query_output), expected.at("image_feats"), 1e-6, "image_feats");
  const at::Tensor text_output = model->encode_text(batch.text);
  expect_close(text_output, expected.at("text_output"), 1e-6, "text_output");
  expect_close(model->text_features(text_output), expected.at("text_feat"), 1e-6, "text_feat");
  TextTokens generation{expected.at("itg_input_ids"), batch.text.mask};
  expect_close(model->generation_logits(image.self_attention_memory, generation), expected.at("itg_logits"), 1e-6,
               "itg_logits");
  const at::Tensor positives = model->match(image.image_memory, batch.text);
  expect_close(positives, expected.at("itm_logits_per_query").slice(0, 0, 4), 1e-6, "itm_logits_per_query");
}

TEST(Blip2QFormer, CachedGenerationEqualsTheFullPassOfLavis) {
  const NamedTensors expected = load_safetensors(test_data("models/stage1_masks/expected.safetensors"));
  const RepresentationBatch batch = reference_batch();
  Blip2QFormer model = reference_model();
  const at::Tensor visible = multimodal_causal_mask(batch.text.mask, 8);
  EXPECT_TRUE(torch::equal(visible.squeeze(1).to(torch::kLong), expected.at("unilm_full_keep").to(torch::kLong)));
  TextTokens text{batch.text.ids.clone(), batch.text.mask};
  text.ids.select(1, 0).fill_(kDecoderStart);
  const ImageQueries image = model->encode_image(batch.pixels);
  expect_close(model->generation_logits(image.self_attention_memory, text), expected.at("itg_logits_full_pass"), 1e-6,
               "itg_logits_full_pass");
  QFormerInput input;
  input.query_embeds = model->query_tokens.expand({4, -1, -1});
  input.text_embeds = model->embeddings(text.ids);
  input.self_mask = additive_mask(visible, torch::kDouble);
  input.image_memory = &image.image_memory;
  const QFormerOutput joint = model->qformer->forward(input);
  expect_close(torch::cat({joint.query, joint.text}, 1), expected.at("hidden_full_pass"), 1e-6, "hidden_full_pass");
}

/** Both ranks of the reference case, each in one pass or differentiated in parts as training does. */
void expect_two_ranks(bool in_parts) {
  SCOPED_TRACE(in_parts ? "in parts" : "as a whole");
  const NamedTensors expected = load_safetensors(test_data("models/stage1_two_rank/expected.safetensors"));
  const NamedTensors single = load_safetensors(test_data("models/stage1_forward/expected.safetensors"));
  const RepresentationBatch all = reference_batch();
  std::mutex mutex;
  run_thread_group(2, [&](const std::shared_ptr<ProcessGroup>& group) {
    const std::int64_t first = 2 * group->rank();
    RepresentationBatch batch;
    batch.pixels = all.pixels.narrow(0, first, 2);
    batch.text = {all.text.ids.narrow(0, first, 2), all.text.mask.narrow(0, first, 2)};
    RepresentationOptions options = reference_settings(single);
    options.negatives->image_rows = options.negatives->image_rows.narrow(0, first, 2);
    options.negatives->text_rows = options.negatives->text_rows.narrow(0, first, 2);
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

TEST(Blip2QFormer, TwoRanksEqualLavisOnTwoRanks) {
  expect_two_ranks(/*in_parts=*/false);
  expect_two_ranks(/*in_parts=*/true);
}

TEST(Blip2QFormer, FloatStaysWithinTheReferenceTolerance) {
  const NamedTensors expected = load_safetensors(test_data("models/stage1_forward/expected.safetensors"));
  Blip2QFormer model = reference_model();
  model->to(torch::kFloat);
  RepresentationBatch batch = reference_batch();
  batch.pixels = batch.pixels.to(torch::kFloat);
  const auto losses = model->losses(batch, reference_settings(expected), single_process_group());
  expect_close(losses.total, expected.at("loss"), 1e-5, "loss");
  losses.total.backward();
  EXPECT_GT(expect_gradients(*model, expected, 1e-4), 90);
}

TEST(Blip2QFormer, GradientsAreDifferenceQuotientsOfTheLosses) {
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

TEST(Blip2QFormer, GradientsInPlaceAreTheSame) {
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

TEST(Blip2QFormer, DifferentiatingInPartsEqualsLavis) {
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

TEST(Blip2QFormer, PartsDifferentiateAnEncoderThatLearnsAlong) {
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

TEST(Blip2QFormer, RanksWithTextsOfDifferentLengthEqualOneRank) {
  const NamedTensors single = load_safetensors(test_data("models/stage1_forward/expected.safetensors"));
  RepresentationBatch all = reference_batch();
  all.text.mask.slice(0, 2).slice(1, 4).zero_();  // the second rank's texts end early, and it does not know of more
  const RepresentationOptions options = reference_settings(single);
  const auto expected = reference_model()->losses(all, options, single_process_group());
  std::mutex mutex;
  double total = 0;
  run_thread_group(2, [&](const std::shared_ptr<ProcessGroup>& group) {
    const std::int64_t first = 2 * group->rank(), length = group->rank() == 0 ? all.text.ids.size(1) : 4;
    RepresentationBatch batch;
    batch.pixels = all.pixels.narrow(0, first, 2);
    batch.text = {all.text.ids.narrow(0, first, 2).narrow(1, 0, length),
                  all.text.mask.narrow(0, first, 2).narrow(1, 0, length)};
    RepresentationOptions own = options;
    own.negatives->image_rows = own.negatives->image_rows.narrow(0, first, 2);
    own.negatives->text_rows = own.negatives->text_rows.narrow(0, first, 2);
    const auto losses = reference_model()->add_gradients(batch, own, group);
    const std::lock_guard lock(mutex);
    total += (losses.contrastive + losses.matching).item<double>() / 2;
  });
  EXPECT_NEAR(total, (expected.contrastive + expected.matching).item<double>(), 1e-9);
}

TEST(Blip2QFormer, HalfPrecisionStaysNear) {
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

TEST(Blip2QFormer, TheTowersOutputStandsForThePictures) {
  const NamedTensors expected = load_safetensors(test_data("models/stage1_forward/expected.safetensors"));
  Blip2QFormer model = reference_model();
  RepresentationBatch batch = reference_batch();
  batch.tower_output = model->vision_model->encode(batch.pixels).detach();
  batch.pixels = at::Tensor();
  const auto losses = model->losses(batch, reference_settings(expected), single_process_group());
  expect_losses(losses, expected);
  losses.total.backward();
  EXPECT_GT(expect_gradients(*model, expected, 1e-6), 90);  // of the LayerNorm behind the tower too
}

TEST(Blip2QFormer, CaptionsWithoutAWordHaveNoGenerationLoss) {
  Blip2QFormer model = reference_model();
  RepresentationBatch batch = reference_batch();
  RepresentationOptions options;
  options.decoder_start_id = kDecoderStart;
  batch.text.mask = torch::zeros_like(batch.text.mask);  // not even [CLS]
  const auto nothing = model->losses(batch, options, single_process_group());
  EXPECT_EQ(nothing.generation.item<double>(), 0.0);
  EXPECT_TRUE(nothing.total.isfinite().item<bool>());
  nothing.total.backward();
  for (const auto& parameter : model->parameters()) {
    const at::Tensor& gradient = parameter.grad();
    EXPECT_TRUE(!gradient.defined() || gradient.isfinite().all().item<bool>());
  }
  batch.text.mask.select(1, 0).fill_(1);  // [CLS] alone, nothing to predict
  EXPECT_EQ(model->losses(batch, options, single_process_group()).generation.item<double>(), 0.0);
}

TEST(Blip2QFormer, DuplicatePicturesAndTextsAreDefined) {
  Blip2QFormer model = reference_model();
  RepresentationBatch batch = reference_batch();
  batch.pixels = batch.pixels.narrow(0, 0, 1).repeat({4, 1, 1, 1});
  batch.text = {batch.text.ids.narrow(0, 0, 1).repeat({4, 1}), batch.text.mask.narrow(0, 0, 1).repeat({4, 1})};
  batch.image_ids = torch::full({4}, 3, torch::kLong);  // no candidate for a negative is left
  RepresentationOptions options;
  options.decoder_start_id = kDecoderStart;
  const auto losses = model->losses(batch, options, single_process_group());
  EXPECT_TRUE(losses.total.isfinite().item<bool>());
  EXPECT_NEAR(losses.contrastive.item<double>(), std::log(4.0), 1e-9);
}

TEST(Blip2QFormer, PaddingToALongerLengthChangesNoLoss) {
  const NamedTensors expected = load_safetensors(test_data("models/stage1_forward/expected.safetensors"));
  Blip2QFormer model = reference_model();
  RepresentationBatch batch = reference_batch();
  batch.text.ids = torch::constant_pad_nd(batch.text.ids, {0, 5}, 0);
  batch.text.mask = torch::constant_pad_nd(batch.text.mask, {0, 5}, 0);
  expect_losses(model->losses(batch, reference_settings(expected), single_process_group()), expected);
}

TEST(Blip2QFormer, ABatchOfOneIsDefined) {
  Blip2QFormer model = reference_model();
  RepresentationBatch batch = reference_batch();
  batch.pixels = batch.pixels.narrow(0, 0, 1);
  batch.text = {batch.text.ids.narrow(0, 0, 1), batch.text.mask.narrow(0, 0, 1)};
  for (const auto rule : {NegativeRule::kMaskThenSoftmax, NegativeRule::kSoftmaxThenMask}) {
    RepresentationOptions options;
    options.decoder_start_id = kDecoderStart;
    options.negative_rule = rule;
    const auto losses = model->losses(batch, options, single_process_group());
    EXPECT_TRUE(losses.total.isfinite().item<bool>());
    EXPECT_EQ(losses.negatives.text_rows.item<std::int64_t>(), 0);
    EXPECT_NEAR(losses.contrastive.item<double>(), 0.0, 1e-12);
  }
}

TEST(Blip2QFormer, PublishedTrainableParameterCount) {
  // LAVIS 0: stage 1 with ViT-g trains 186,705,470 parameters. The tower is small here; its width is what counts.
  Blip2Options options;
  options.vision_config.num_hidden_layers = 1;
  options.vision_config.intermediate_size = 8;
  options.qformer_config.vocab_size = 30523;
  Blip2QFormer model(options);
  model->vision_model->freeze();
  std::int64_t trainable = 0;
  for (const auto& parameter : model->parameters()) trainable += parameter.requires_grad() ? parameter.numel() : 0;
  EXPECT_EQ(trainable, 186705470);
}

TEST(Blip2QFormer, StartsWithQueryFeedForwardEqualToTheTexts) {
  Blip2QFormer model(reference_options());
  const auto parameters = model->named_parameters();
  EXPECT_TRUE(torch::equal(parameters["qformer.encoder.layer.1.intermediate.dense.weight"],
                           parameters["qformer.encoder.layer.1.intermediate_query.dense.weight"]));
  EXPECT_NEAR(model->temperature.item<double>(), 0.07, 1e-7);
}

TEST(TextEmbeddings, TooLongATextIsRefused) {
  Blip2QFormer model = reference_model();
  try {
    model->embeddings(torch::zeros({1, 65}, torch::kLong));
    FAIL() << "accepted 65 tokens";
  } catch (const c10::Error& error) {
    EXPECT_NE(std::string(error.what_without_backtrace()).find("65 tokens exceed the 64 positions"), std::string::npos);
  }
}

}  // namespace
}  // namespace blip2
