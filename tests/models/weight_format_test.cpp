// Weights kept as stored are the float32 model's; rounded ones are near it, in every layer of every architecture.
#include "blip2/models/weight_format.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "blip2/checkpoint/hugging_face.h"
#include "blip2/lm/language_model_options.h"
#include "blip2/models/published_folder.h"
#include "blip2/models/text_tokens.h"
#include "models/weight_format_loading.h"
#include "support/expect_error.h"
#include "support/reference.h"
#include "support/temporary_folder.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

fs::path published() {
  return test_data("cases/opt_sharded_bf16/model");
}

/** The next token's log-probabilities [B, V] after pictures and a few tokens. */
at::Tensor next_token(const GeneratorModel& generator) {
  const torch::NoGradGuard no_grad;
  Blip2GeneratorImpl& model = *generator.model.ptr();
  const at::Tensor pixels = load_safetensors(test_data("cases/opt_sharded_bf16/inputs.safetensors")).at("pixel_values");
  const at::Tensor ids = torch::tensor({{2, 5, 9}}, torch::kLong).expand({pixels.size(0), -1}).contiguous();
  const Prompt prompt = model.prompt(model.project_image(pixels), {ids, torch::ones_like(ids)});
  return model.language_model->begin(prompt).second.log_softmax(-1);
}

double largest(const at::Tensor& a) {
  return a.abs().max().item<double>();
}

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return largest(a - b);
}

std::map<at::ScalarType, int> matrices_by_dtype(const torch::nn::Module& module) {
  std::map<at::ScalarType, int> count;
  for (const auto& parameter : module.parameters()) {
    if (parameter.dim() == 2) ++count[parameter.scalar_type()];
  }
  return count;
}

TEST(WeightFormat, AsStoredHasTheResultsOfFloat32AndHalfTheBytes) {
  const GeneratorModel wide = load_generator_model(published());
  const GeneratorModel stored = load_generator_model(published(), WeightFormat::kAsStored);
  const at::Tensor expected = next_token(wide);
  EXPECT_LT(largest_difference(next_token(stored), expected), 1e-6 * largest(expected));
  const auto count = matrices_by_dtype(*stored.model->vision_model);
  EXPECT_GT(count.at(at::kBFloat16), 4);
  EXPECT_EQ(stored.model->qformer->parameters().front().scalar_type(), at::kFloat);
  for (const auto& parameter : stored.model->parameters()) EXPECT_FALSE(parameter.requires_grad());
}

TEST(WeightFormat, RoundedModelsAreNearAndInt4IsFurther) {
  const at::Tensor wide = next_token(load_generator_model(published()));
  const GeneratorModel int8 = load_generator_model(published(), WeightFormat::kInt8);
  const GeneratorModel int4 = load_generator_model(published(), WeightFormat::kInt4);
  const GeneratorModel fast = load_generator_model(published(), WeightFormat::kInt8Fast);
  const double of_fast = largest_difference(next_token(fast), wide);
  EXPECT_GT(of_fast, 1e-5 * largest(wide));
  EXPECT_LT(of_fast, 0.05 * largest(wide));
  const double of_int8 = largest_difference(next_token(int8), wide);
  const double of_int4 = largest_difference(next_token(int4), wide);
  EXPECT_GT(of_int8, 1e-5 * largest(wide));
  EXPECT_LT(of_int8, 0.01 * largest(wide));
  EXPECT_GT(of_int4, of_int8);
  EXPECT_LT(of_int4, 0.15 * largest(wide));
  EXPECT_NE(of_fast, of_int8);
  // The head and the tables stay as stored; the image encoder never goes below int8.
  EXPECT_EQ(matrices_by_dtype(int4.model->language_model->module()).count(at::kChar), 0U);
  EXPECT_GT(matrices_by_dtype(int4.model->language_model->module()).at(at::kShort), 4);
  EXPECT_EQ(matrices_by_dtype(*int4.model->vision_model).count(at::kShort), 0U);
  EXPECT_GT(matrices_by_dtype(*int4.model->vision_model).at(at::kChar), 4);
}

/** Fills a new model of `options` from `folder` in a format; the next token's logits after three. */
at::Tensor language_logits(const LanguageModelOptions& options, const fs::path& folder, WeightFormat format) {
  torch::manual_seed(1);
  const auto model = make_language_model(options);
  LoadOptions load;
  keep_matrices(model->module(), {{"", format}}, load);
  load_parameters(model->module(), ModelTensors(folder), load);
  model->module().eval();
  const torch::NoGradGuard no_grad;
  const at::Tensor ids = torch::tensor({{2, 5, 9}}, torch::kLong);
  return model->begin({model->embed(ids), torch::ones_like(ids)}).second;
}

void expect_near_in_every_format(const LanguageModelOptions& options) {
  const TemporaryFolder folder;
  torch::manual_seed(2);
  const auto written = make_language_model(options);
  NamedTensors tensors;
  for (const auto& [name, tensor] : named_parameters(written->module())) tensors[name] = tensor.to(at::kBFloat16);
  save_model_tensors(tensors, folder.path());
  const at::Tensor wide = language_logits(options, folder.path(), WeightFormat::kFloat32);
  const double size = largest(wide);
  EXPECT_LT(largest_difference(language_logits(options, folder.path(), WeightFormat::kAsStored), wide), 1e-5 * size);
  EXPECT_LT(largest_difference(language_logits(options, folder.path(), WeightFormat::kInt8), wide), 0.05 * size);
  EXPECT_LT(largest_difference(language_logits(options, folder.path(), WeightFormat::kInt4), wide), 0.5 * size);
}

TEST(WeightFormat, ANarrowEmbeddingIsProjectedByRoundedLayersToo) {
  LanguageModelOptions options;  // OPT-350m's way: embeddings narrower than the layers
  options.opt.vocab_size = 90;
  options.opt.hidden_size = 96;
  options.opt.word_embed_proj_dim = 40;
  options.opt.num_hidden_layers = 2;
  options.opt.num_attention_heads = 2;
  options.opt.ffn_dim = 130;
  options.opt.max_position_embeddings = 20;
  options.opt.init_std = 0.2;
  options.opt.do_layer_norm_before = false;
  for (const bool tied : {true, false}) {
    options.opt.tie_word_embeddings = tied;
    expect_near_in_every_format(options);
  }
}

TEST(WeightFormat, T5IsRoundedInEncoderAndDecoder) {
  LanguageModelOptions options;
  options.model_type = "t5";
  options.t5.vocab_size = 90;
  options.t5.d_model = 96;
  options.t5.d_kv = 24;
  options.t5.d_ff = 130;
  options.t5.num_layers = 2;
  options.t5.num_heads = 4;
  options.t5.feed_forward_proj = "gated-gelu";
  options.t5.is_gated_act = true;
  options.t5.dense_act_fn = "gelu";
  for (const bool tied : {true, false}) {
    options.t5.tie_word_embeddings = options.t5.scale_decoder_outputs = tied;
    expect_near_in_every_format(options);
  }
}

TEST(WeightFormat, UsersNameWhatTheyWant) {
  EXPECT_EQ(inference_format("none"), WeightFormat::kAsStored);
  EXPECT_EQ(inference_format("int8"), WeightFormat::kInt8);
  EXPECT_EQ(inference_format("int8-fast"), WeightFormat::kInt8Fast);
  EXPECT_EQ(inference_format("int4"), WeightFormat::kInt4);
  EXPECT_USER_ERROR(inference_format("int5"), "cannot quantize to 'int5': expected none, int8, int8-fast or int4");
}

}  // namespace
}  // namespace blip2
