// Written folders, read again: every parameter to the bit, whatever the dtype and the number of files. What Python
// makes of them is in tests/programs/export_test.cpp.
#include "blip2/models/published_writer.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <fstream>

#include "blip2/checkpoint/hugging_face.h"
#include "blip2/checkpoint/module_state.h"
#include "blip2/core/config.h"
#include "blip2/models/published_folder.h"
#include "blip2/text/load_tokenizer.h"
#include "models/stage1_heads.h"
#include "support/expect_error.h"
#include "support/reference.h"
#include "support/temporary_folder.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

GeneratorModel opt_model() {
  return load_generator_model(test_data("cases/opt_sharded_bf16/model"));
}

RepresentationModel retrieval_model() {
  return load_representation_model(test_data("cases/itm_tiny/model"));
}

/** A generative model with random weights around the tokenizer of tests/data/text/t5. */
GeneratorModel t5_model(bool tied) {
  torch::manual_seed(1);
  Blip2GeneratorOptions options;
  read_config(load_json(test_data("cases/opt_sharded_bf16/model/config.json")), static_cast<Blip2Options&>(options), "",
              UnknownKeys::kIgnore);
  options.image_token_index.reset();
  read_config(json{{"model_type", "t5"},
                   {"vocab_size", 512},
                   {"d_model", 24},
                   {"d_kv", 6},
                   {"d_ff", 40},
                   {"num_layers", 2},
                   {"num_decoder_layers", 1},
                   {"num_heads", 4},
                   {"feed_forward_proj", "gated-gelu"},
                   {"dense_act_fn", "gelu"},
                   {"tie_word_embeddings", tied}},
              options.text_config, "");
  GeneratorModel generator;
  generator.model = Blip2Generator(options);
  generator.tokenizer = load_tokenizer(test_data("text/t5"));
  generator.transform.image_size = options.vision_config.image_size;
  return generator;
}

template <typename Module>
void expect_equal_parameters(const Module& actual, const Module& expected) {
  const NamedTensors a = named_parameters(actual), b = named_parameters(expected);
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, tensor] : b) {
    ASSERT_EQ(a.count(name), 1U) << name;
    EXPECT_TRUE(torch::equal(a.at(name), tensor)) << name;
  }
}

TEST(PublishedWriter, AGenerativeModelComesBackToTheBit) {
  const TemporaryFolder parent;
  const fs::path folder = parent.path() / "model";
  const GeneratorModel generator = opt_model();
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {  // the source is bfloat16
    SCOPED_TRACE(dtype);
    EXPECT_TRUE(save_published(generator, folder, {dtype}).empty());
    const GeneratorModel again = load_generator_model(folder);
    expect_equal_parameters(*again.model, *generator.model);
    EXPECT_EQ(write_config(again.model->options()), write_config(generator.model->options()));
    EXPECT_EQ(write_config(again.transform), write_config(generator.transform));
    EXPECT_EQ(ModelTensors(folder).info("qformer.layernorm.weight").dtype, dtype);
  }
}

TEST(PublishedWriter, AnyT5ComesBackToTheBit) {
  for (const bool tied : {true, false}) {
    SCOPED_TRACE(tied);
    const TemporaryFolder parent;
    const fs::path folder = parent.path() / "model";
    const GeneratorModel generator = t5_model(tied);
    save_published(generator, folder);
    const GeneratorModel again = load_generator_model(folder);
    expect_equal_parameters(*again.model, *generator.model);
    const T5Options &actual = again.model->options().text_config.t5,
                    &expected = generator.model->options().text_config.t5;
    EXPECT_EQ(actual.tie_word_embeddings, tied);
    EXPECT_EQ(actual.scale_decoder_outputs, expected.scale_decoder_outputs);
    EXPECT_EQ(actual.dense_act_fn, "gelu");
    EXPECT_EQ(actual.bos_token_id, 1) << "Python begins a caption with it";
    EXPECT_EQ(again.model->options().image_token_index, 500);
    EXPECT_EQ(ModelTensors(folder).contains("language_model.lm_head.weight"), !tied);
    EXPECT_FALSE(ModelTensors(folder).contains("language_model.encoder.embed_tokens.weight"));
  }
}

TEST(PublishedWriter, LargeModelsAreSharded) {
  const TemporaryFolder parent;
  const fs::path folder = parent.path() / "model";
  const GeneratorModel generator = opt_model();
  save_published(generator, folder, {at::kFloat, 200'000});
  EXPECT_FALSE(fs::exists(folder / "model.safetensors"));
  const json index = load_json(folder / "model.safetensors.index.json");
  for (const auto& [name, file] : index["weight_map"].items()) {
    EXPECT_LE(fs::file_size(folder / file.get<std::string>()), 220'000U) << name;
  }
  expect_equal_parameters(*load_generator_model(folder).model, *generator.model);
}

TEST(PublishedWriter, Float16LeavesWhatPythonKeepsInFloat32) {
  const TemporaryFolder parent;
  const fs::path folder = parent.path() / "model";
  save_published(t5_model(true), folder, {at::kHalf});
  EXPECT_EQ(load_json(folder / "config.json")["dtype"], "float16");
  const ModelTensors tensors(folder);
  EXPECT_EQ(tensors.info("query_tokens").dtype, at::kFloat);
  EXPECT_EQ(tensors.info("qformer.layernorm.weight").dtype, at::kFloat);
  EXPECT_EQ(tensors.info("language_model.encoder.block.0.layer.1.DenseReluDense.wo.weight").dtype, at::kFloat);
  EXPECT_EQ(tensors.info("language_model.encoder.block.0.layer.1.DenseReluDense.wi_0.weight").dtype, at::kHalf);
  EXPECT_EQ(tensors.info("vision_model.post_layernorm.weight").dtype, at::kHalf);
}

TEST(PublishedWriter, RefusesValuesBeyondFloat16AndLeavesNothing) {
  const TemporaryFolder parent;
  const fs::path folder = parent.path() / "model";
  const GeneratorModel generator = opt_model();
  {
    const torch::NoGradGuard no_grad;
    named_parameters(*generator.model).at("language_projection.bias")[0] = 1e6;
  }
  EXPECT_USER_ERROR(save_published(generator, folder, {at::kHalf}),
                    "a value of 'language_projection.bias' is too large for float16: export to bfloat16 or float32");
  EXPECT_TRUE(fs::is_empty(parent.path()));
  save_published(generator, folder, {at::kBFloat16});
}

TEST(PublishedWriter, ARetrievalModelComesBackWithItsHeads) {
  const TemporaryFolder parent;
  const fs::path folder = parent.path() / "model";
  const RepresentationModel retrieval = retrieval_model();
  {
    const torch::NoGradGuard no_grad;
    retrieval.model->temperature.fill_(0.03);
  }
  save_published(retrieval, folder);
  const ModelTensors tensors(folder);
  for (const auto& name : tensors.names()) EXPECT_FALSE(is_stage1_head(name)) << name;
  const RepresentationModel again = load_representation_model(folder);
  expect_equal_parameters(*again.model, *retrieval.model);
  EXPECT_EQ(write_config(again.model->options()), write_config(retrieval.model->options()));
  EXPECT_FALSE(load_json(folder / "processor_config.json").contains("num_query_tokens"));
  save_safetensors({{"temperature", torch::zeros({2})}}, folder / kStage1HeadsFile);
  EXPECT_USER_ERROR(load_representation_model(folder), "'temperature' has shape [2] where the model has []");
  EXPECT_USER_ERROR(load_representation_model(folder), "'itg_head.bias' is missing");
}

TEST(PublishedWriter, HeadsThatNobodyTrainedAreNotPassedOnAsTheModels) {
  const TemporaryFolder parent;
  const fs::path folder = parent.path() / "model";
  const RepresentationModel retrieval = retrieval_model();  // Hugging Face's class has none
  EXPECT_THAT(save_published(retrieval, folder),
              testing::ElementsAre("no stage1_heads.safetensors was written: the head for text generation and the "
                                   "temperature were never trained"));
  EXPECT_FALSE(fs::exists(folder / kStage1HeadsFile));
  EXPECT_NO_THROW(load_representation_model(folder));
  const torch::NoGradGuard no_grad;
  named_parameters(*retrieval.model).at("itg_head.bias")[1] = 0.5;
  EXPECT_TRUE(save_published(retrieval, folder).empty());
  expect_equal_parameters(*load_representation_model(folder).model, *retrieval.model);
}

TEST(PublishedWriter, SaysWherePythonComputesOtherwise) {
  const TemporaryFolder parent;
  RepresentationModel retrieval = retrieval_model();
  Blip2Options options = retrieval.model->options();
  options.vision_config.post_layer_norm_eps = 1e-5;
  retrieval.model = Blip2QFormer(options);
  EXPECT_THAT(save_published(retrieval, parent.path() / "model"),
              testing::Contains("Python computes vision_model.post_layernorm with an eps of 1e-06, this model has "
                                "1e-05 (vision_config.post_layer_norm_eps)"));
  const RepresentationModel again = load_representation_model(parent.path() / "model");
  EXPECT_EQ(again.model->options().vision_config.post_layer_norm_eps, 1e-5);
}

TEST(PublishedWriter, RefusesAPlaceholderThatIsAnotherToken) {
  const TemporaryFolder parent;
  GeneratorModel generator = opt_model();
  Blip2GeneratorOptions options = generator.model->options();
  options.image_token_index = 7;
  generator.model = Blip2Generator(options);
  EXPECT_USER_ERROR(save_published(generator, parent.path() / "model"),
                    "the model's image_token_index is 7, expected 565, where its tokenizer has '<image>'");
  EXPECT_TRUE(fs::is_empty(parent.path()));
}

TEST(PublishedWriter, RefusesAnImageEncoderThatPythonLacks) {
  const TemporaryFolder parent;
  RepresentationModel retrieval = retrieval_model();
  Blip2Options options = retrieval.model->options();
  options.vision_config.model_type = "clip_vision_model";
  retrieval.model = Blip2QFormer(options);
  EXPECT_USER_ERROR(save_published(retrieval, parent.path() / "model"),
                    "Hugging Face's BLIP-2 has no class for the image encoder 'clip_vision_model'");
  EXPECT_TRUE(fs::is_empty(parent.path()));
}

TEST(PublishedWriter, ReplacesAModelAndNothingElse) {
  const TemporaryFolder parent;
  const fs::path folder = parent.path() / "model";
  const RepresentationModel retrieval = retrieval_model();
  fs::create_directory(folder);
  std::ofstream(folder / "thesis.txt") << "years of work";
  EXPECT_USER_ERROR(save_published(retrieval, folder), folder.string());
  EXPECT_TRUE(fs::exists(folder / "thesis.txt"));
  fs::remove(folder / "thesis.txt");
  save_published(opt_model(), folder, {at::kFloat, 200'000});
  save_published(retrieval, folder);
  EXPECT_TRUE(is_retrieval_model(folder));
  EXPECT_FALSE(fs::exists(folder / "model.safetensors.index.json"));
}

TEST(PublishedWriter, KnowsThreeDtypes) {
  EXPECT_EQ(export_dtype("bfloat16"), at::kBFloat16);
  EXPECT_USER_ERROR(export_dtype("fp16"), "cannot export weights as 'fp16': expected float32, bfloat16 or float16");
}

}  // namespace
}  // namespace blip2
