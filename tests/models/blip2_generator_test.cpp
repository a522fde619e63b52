// Stage 2 against LAVIS, with OPT and with FlanT5: projected tokens, loss, every gradient.
#include "blip2/models/blip2_generator.h"

#include <gtest/gtest.h>

#include "blip2/core/config.h"
#include "blip2/nn/activation_checkpointing.h"
#include "blip2/nn/linear.h"
#include "support/reference.h"

namespace blip2 {
namespace {

Blip2Generator reference_model(const std::string& name) {
  Blip2GeneratorOptions options;
  const std::string folder = "models/" + name;
  read_config(load_json(test_data(folder + "/config.json")), options, "config.json", UnknownKeys::kIgnore);
  options.text_config.t5.float32_variance = true;  // as LAVIS had it, in double too
  Blip2Generator model(options);
  fill_parameters(*model, load_safetensors(test_data(folder + "/model.safetensors")));
  model->to(torch::kDouble);
  model->freeze();
  return model;
}

struct Case {
  NamedTensors inputs, expected;
};

Case load_case(const std::string& name) {
  return {load_safetensors(test_data("models/" + name + "/inputs.safetensors")),
          load_safetensors(test_data("models/" + name + "/expected.safetensors"))};
}

void expect_values(Blip2Generator& model, const Case& c, const GenerationBatch& batch) {
  const at::Tensor projected = model->project_image(batch.pixels);
  expect_close(projected, c.expected.at("projected"), 1e-6, "projected");
  const Prompt prompt = model->prompt(projected, batch.text);
  expect_close(prompt.embeds, c.expected.at("inputs_embeds"), 1e-6, "inputs_embeds");
  EXPECT_TRUE(torch::equal(prompt.mask, c.expected.at("attention_mask").to(torch::kLong)));
  const at::Tensor loss = model->loss(batch);
  expect_close(loss, c.expected.at("loss"), 1e-6, "loss");
  loss.backward();
  EXPECT_GT(expect_gradients(*model, c.expected, 1e-6), 60);
}

GenerationBatch opt_batch(const Case& c, std::int64_t prompt_length) {
  GenerationBatch batch;
  batch.pixels = c.inputs.at("image").to(torch::kDouble);
  batch.text = {c.inputs.at("input_ids"), c.inputs.at("attention_mask")};
  batch.labels = continuation_labels(batch.text, prompt_length);
  return batch;
}

TEST(Blip2Generator, OptWithAPromptEqualsLavis) {
  const Case c = load_case("stage2_opt_prompt");
  Blip2Generator model = reference_model("stage2_opt_model");
  const GenerationBatch batch = opt_batch(c, 4);
  EXPECT_TRUE(torch::equal(batch.labels, c.expected.at("labels").slice(1, 8)));
  expect_values(model, c, batch);
}

TEST(Blip2Generator, OptWithoutAPromptEqualsLavis) {
  const Case c = load_case("stage2_opt_empty_prompt");
  Blip2Generator model = reference_model("stage2_opt_model");
  expect_values(model, c, opt_batch(c, 0));
}

GenerationBatch t5_batch(const Case& c) {
  GenerationBatch batch;
  batch.pixels = c.inputs.at("image").to(torch::kDouble);
  batch.text = {c.inputs.at("input_ids"), c.inputs.at("attention_mask")};
  batch.labels = c.inputs.at("output_ids").masked_fill(c.inputs.at("output_mask").eq(0), -100);
  return batch;
}

TEST(Blip2Generator, FlanT5EqualsLavis) {
  const Case c = load_case("stage2_t5");
  Blip2Generator model = reference_model("stage2_t5_model");
  expect_values(model, c, t5_batch(c));
}

TEST(Blip2Generator, FrozenPartsNeitherLearnNorDropOut) {
  const Case c = load_case("stage2_opt_prompt");
  Blip2GeneratorOptions options = reference_model("stage2_opt_model")->options();
  options.text_config.opt.dropout = 0.5;
  Blip2Generator model(options);
  model->to(torch::kDouble);
  model->freeze();
  model->train();
  const GenerationBatch batch = opt_batch(c, 4);
  const at::Tensor first = model->loss(batch);
  EXPECT_EQ(first.item<double>(), model->loss(batch).item<double>());
  first.backward();
  for (const auto& item : model->named_parameters()) {
    const bool frozen =
        item.key().starts_with("language_model.") ||
        (item.key().starts_with("vision_model.") && item.key().find("post_layernorm") == std::string::npos);
    EXPECT_EQ(item.value().requires_grad(), !frozen) << item.key();
    EXPECT_EQ(item.value().grad().defined(), !frozen) << item.key();
  }
}

TEST(Blip2Generator, CheckpointedLayersGiveTheSameGradients) {
  const Case opt = load_case("stage2_opt_prompt"), t5 = load_case("stage2_t5");
  const ActivationCheckpointing checkpointing;
  Blip2Generator continues = reference_model("stage2_opt_model"), translates = reference_model("stage2_t5_model");
  expect_values(continues, opt, opt_batch(opt, 4));
  expect_values(translates, t5, t5_batch(t5));
}

TEST(Blip2Generator, AFrozenLanguageModelDropsOutWhereLavisIsAskedFor) {
  const Case c = load_case("stage2_opt_prompt");
  Blip2GeneratorOptions options = reference_model("stage2_opt_model")->options();
  options.text_config.opt.dropout = 0.5;
  Blip2Generator model(options);
  model->to(torch::kDouble);
  model->freeze(/*language_model_dropout=*/true);
  model->train();
  const GenerationBatch batch = opt_batch(c, 4);
  EXPECT_NE(model->loss(batch).item<double>(), model->loss(batch).item<double>());
  model->eval();
  EXPECT_EQ(model->loss(batch).item<double>(), model->loss(batch).item<double>());
}

TEST(Blip2Generator, FrozenWeightsInHalfPrecisionGiveTheGradientsOfWidenedOnes) {
  const Case c = load_case("stage2_opt_prompt");
  GenerationBatch batch = opt_batch(c, 4);
  batch.pixels = batch.pixels.to(torch::kFloat);
  const auto gradients = [&](bool narrow) {
    Blip2Generator model = reference_model("stage2_opt_model");
    model->to(torch::kFloat);
    for (const auto& module : model->language_model->module().modules()) {
      auto* layer = module->as<LinearImpl>();
      if (layer == nullptr) continue;
      const at::Tensor stored = layer->weight.detach().to(at::kBFloat16);
      layer->weight.set_data(narrow ? stored : stored.to(at::kFloat));
    }
    model->loss(batch).backward();
    NamedTensors found;
    for (const auto& item : model->named_parameters()) found[item.key()] = item.value().grad();
    return found;
  };
  const NamedTensors wide = gradients(false), narrow = gradients(true);
  for (const auto& [name, gradient] : wide) {
    ASSERT_EQ(gradient.defined(), narrow.at(name).defined()) << name;
    EXPECT_TRUE(!gradient.defined() || torch::allclose(narrow.at(name), gradient, 1e-3, 1e-5)) << name;
  }
}

TEST(Blip2Generator, PublishedTrainableParameterCount) {
  // LAVIS 0: 107,133,696 for ViT-g with OPT-2.7B. The frozen parts are small here; their widths are what counts.
  Blip2GeneratorOptions options;
  options.vision_config.num_hidden_layers = 1;
  options.vision_config.intermediate_size = 8;
  options.text_config.opt.hidden_size = 2560;
  options.text_config.opt.num_attention_heads = 32;
  options.text_config.opt.num_hidden_layers = 1;
  options.text_config.opt.ffn_dim = 8;
  options.text_config.opt.vocab_size = 8;
  Blip2Generator model(options);
  model->freeze();
  std::int64_t trainable = 0;
  for (const auto& parameter : model->parameters()) trainable += parameter.requires_grad() ? parameter.numel() : 0;
  EXPECT_EQ(trainable, 107133696);
}

TEST(ContinuationLabels, PromptAndPaddingDoNotCount) {
  const TextTokens text{torch::tensor({{2, 5, 6, 7}, {2, 5, 1, 1}}, torch::kLong),
                        torch::tensor({{1, 1, 1, 1}, {1, 1, 0, 0}}, torch::kLong)};
  EXPECT_TRUE(torch::equal(continuation_labels(text, 2),
                           torch::tensor({{-100, -100, 6, 7}, {-100, -100, -100, -100}}, torch::kLong)));
  EXPECT_TRUE(torch::equal(continuation_labels(text, 0)[0], text.ids[0]));
}

}  // namespace
}  // namespace blip2
