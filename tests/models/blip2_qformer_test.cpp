// Stage 1 against LAVIS: values, losses and every gradient (reference cases stage1_*).
#include "blip2/models/blip2_qformer.h"

#include <gtest/gtest.h>

#include "blip2/qformer/attention_mask.h"
#include "models/stage1_reference.h"

namespace blip2 {
namespace {

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
