#include <gtest/gtest.h>

#include "blip2/core/config.h"
#include "blip2/vision/clip_vit.h"
#include "blip2/vision/eva_vit.h"
#include "blip2/vision/patch_embedding.h"
#include "support/expect_error.h"
#include "support/reference.h"

namespace blip2 {
namespace {

VisionOptions small_options() {
  VisionOptions options;
  options.hidden_size = 16;
  options.intermediate_size = 32;
  options.num_hidden_layers = 2;
  options.num_attention_heads = 2;
  options.image_size = 28;
  return options;
}

std::int64_t count_parameters(const VisionOptions& options) {
  // Every block is alike, so that two small towers give the size of a deep one without its memory.
  auto count = [&](std::int64_t layers) {
    VisionOptions shallow = options;
    shallow.num_hidden_layers = layers;
    std::int64_t sum = 0;
    for (const auto& parameter : make_vision_encoder(shallow)->parameters()) sum += parameter.numel();
    return sum;
  };
  const std::int64_t one = count(1), block = count(2) - one;
  return one + (options.num_hidden_layers - 1) * block;
}

TEST(VisionEncoder, PublishedParameterCounts) {
  // LAVIS 1.1 and 1.2 count without ln_vision (2 x width).
  EXPECT_EQ(count_parameters(eva_vit_g_options()) - 2 * 1408, 985894528 + 39 * 1408);  // + the zero key biases of qkv
  EXPECT_EQ(count_parameters(clip_vit_l_options()) - 2 * 1024, 290581504);
  VisionOptions large = eva_vit_g_options();
  large.image_size = 364;
  EXPECT_EQ(count_parameters(large), 986543616);  // Hugging Face 2.1
  EXPECT_EQ(count_parameters(eva_vit_g_options()), 985952256);
}

TEST(ClipVit, EqualsTheReferenceBlockByBlock) {
  VisionOptions options;
  read_config(load_json(test_data("vision/clip_config.json")), options, "clip_config.json");
  ClipVit vit(options);
  NamedTensors weights = load_safetensors(test_data("vision/clip_model.safetensors"));
  weights["post_layernorm.weight"] = torch::ones({40});
  weights["post_layernorm.bias"] = torch::zeros({40});
  fill_parameters(*vit, weights);
  const NamedTensors expected = load_safetensors(test_data("vision/clip_expected.safetensors"));
  std::vector<at::Tensor> states;
  const auto pixels = load_safetensors(test_data("vision/clip_inputs.safetensors")).at("image");
  const at::Tensor output = vit->encode(pixels, false, &states);
  ASSERT_EQ(states.size(), 4U);
  expect_close(states[0], expected.at("after_ln_pre"), 1e-5, "after_ln_pre");
  for (std::size_t i = 0; i < 3; ++i) {
    const std::string name = "after_block." + std::to_string(i);
    expect_close(states[i + 1], expected.at(name), 1e-5, name);
  }
  expect_close(output, expected.at("output"), 1e-5, "output");
}

class PositionInterpolation : public testing::TestWithParam<std::pair<int, int>> {};

TEST_P(PositionInterpolation, EqualsTheReferenceForBothTowers) {
  const auto [from, to] = GetParam();
  const std::string name = std::to_string(from) + "_to_" + std::to_string(to);
  const NamedTensors inputs = load_safetensors(test_data("vision/positions_inputs.safetensors"));
  const NamedTensors expected = load_safetensors(test_data("vision/positions_expected.safetensors"));
  const auto eva = interpolate_positions(inputs.at("eva." + name).squeeze(0), to, to, GridAlignment::kPixelCentres);
  expect_close(eva, expected.at("eva." + name).squeeze(0), 1e-5, "eva." + name);
  const auto clip = interpolate_positions(inputs.at("clip." + name), to, to, GridAlignment::kCorners);
  expect_close(clip, expected.at("clip." + name), 1e-5, "clip." + name);
}

INSTANTIATE_TEST_SUITE_P(Grids, PositionInterpolation,
                         testing::Values(std::pair{16, 26}, std::pair{3, 7}, std::pair{4, 6}, std::pair{6, 4}));

TEST(PositionInterpolation, EqualGridReturnsTheTableItself) {
  const auto table = torch::randn({10, 4});
  EXPECT_TRUE(interpolate_positions(table, 3, 3, GridAlignment::kCorners).is_same(table));
}

TEST(PositionInterpolation, TableThatIsNoSquareIsRefused) {
  EXPECT_THROW(interpolate_positions(torch::randn({9, 4}), 3, 3, GridAlignment::kCorners), c10::Error);
}

TEST(PatchEmbedding, EqualsTheConvolution) {
  torch::manual_seed(1);
  torch::nn::Conv2d convolution(torch::nn::Conv2dOptions(3, 8, 4).stride(4));
  const auto pixels = torch::randn({2, 3, 12, 8});
  const auto expected = convolution(pixels).flatten(2).transpose(1, 2);
  expect_close(embed_patches(pixels, convolution), expected, 1e-6, "patches");
}

TEST(VisionEncoder, FrozenTowerRecordsNoGradientButItsNormDoes) {
  auto encoder = make_vision_encoder(small_options());
  encoder->freeze();
  encoder->train();
  EXPECT_FALSE(encoder->is_training());
  encoder->forward(torch::randn({1, 3, 28, 28})).square().sum().backward();
  for (const auto& item : encoder->named_parameters()) {
    const bool norm = item.key().starts_with("post_layernorm");
    EXPECT_EQ(item.value().requires_grad(), norm) << item.key();
    EXPECT_EQ(item.value().grad().defined(), norm) << item.key();
  }
}

TEST(VisionEncoder, OtherSizesNeedInterpolation) {
  auto encoder = make_vision_encoder(small_options());
  const auto pixels = torch::randn({1, 3, 42, 28});
  try {
    encoder->forward(pixels);
    FAIL() << "accepted a picture of the wrong size";
  } catch (const c10::Error& error) {
    EXPECT_THAT(error.what_without_backtrace(), testing::HasSubstr("expected pictures of 28x28 pixels, got 42x28"));
  }
  EXPECT_EQ(encoder->forward(pixels, true).sizes(), (std::vector<std::int64_t>{1, 3 * 2 + 1, 16}));
}

TEST(VisionEncoder, BatchEqualsSingles) {
  torch::manual_seed(3);
  for (const std::string type : {"blip_2_vision_model", "clip_vision_model"}) {
    VisionOptions options = small_options();
    options.model_type = type;
    auto encoder = make_vision_encoder(options);
    const auto pixels = torch::randn({3, 3, 28, 28});
    const auto batch = encoder->forward(pixels);
    for (int i = 0; i < 3; ++i) {
      expect_close(encoder->forward(pixels.slice(0, i, i + 1)), batch.slice(0, i, i + 1), 1e-5, type);
    }
  }
}

TEST(VisionOptions, WhatAClipFileLeavesOutHasClipsDefaults) {
  VisionOptions options;
  read_config(nlohmann::json{{"model_type", "clip_vision_model"}}, options, "config.json");
  EXPECT_EQ(options.hidden_act, "quick_gelu");
  EXPECT_EQ(options.layer_norm_eps, 1e-5);
  options = {};
  read_config(nlohmann::json{{"model_type", "clip_vision_model"}, {"hidden_act", "gelu"}}, options, "config.json");
  EXPECT_EQ(options.hidden_act, "gelu");
}

TEST(VisionOptions, NonsenseIsRefusedByName) {
  VisionOptions options = small_options();
  options.num_attention_heads = 3;
  EXPECT_USER_ERROR(validate(options),
                    "vision_config: hidden_size 16 must be a positive multiple of num_attention_heads 3");
  options = small_options();
  options.patch_size = 0;
  EXPECT_USER_ERROR(validate(options), "image_size 28 must hold at least one patch of 0");
  options = small_options();
  options.num_hidden_layers = 2000000000;
  EXPECT_USER_ERROR(validate(options), "vision_config: num_hidden_layers 2000000000 must lie between 1 and 1024");
  options = small_options();
  options.image_size = std::int64_t{1} << 40;
  EXPECT_USER_ERROR(validate(options), "vision_config: image_size 1099511627776 must lie between 1 and 16384");
  options = small_options();
  options.model_type = "vit";
  EXPECT_USER_ERROR(make_vision_encoder(options),
                    "unknown model_type 'vit', expected blip_2_vision_model or clip_vision_model");
}

}  // namespace
}  // namespace blip2
