// Published folders do not say everything as BLIP-2 needs it: what loading makes of them.
#include "blip2/models/run_folder.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <fstream>

#include "blip2/checkpoint/hugging_face.h"
#include "blip2/checkpoint/module_state.h"
#include "blip2/core/config.h"
#include "blip2/text/bpe_training.h"
#include "support/expect_error.h"
#include "support/reference.h"
#include "support/temporary_folder.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

void write_json(const fs::path& file, const nlohmann::json& json) {
  std::ofstream(file) << json.dump();
}

/** An OPT folder as Hugging Face writes it, ending at </s>; returns the model. */
std::shared_ptr<LanguageModel> write_opt(const fs::path& folder, bool tied) {
  const auto tokenizer = make_byte_bpe(train_byte_bpe({"a dog and a cat", "a cat"}, 300));
  tokenizer->save(folder);
  LanguageModelOptions options;
  options.opt.vocab_size = tokenizer->vocabulary_size();
  options.opt.hidden_size = 16;
  options.opt.num_hidden_layers = 1;
  options.opt.num_attention_heads = 2;
  options.opt.ffn_dim = 24;
  options.opt.max_position_embeddings = 20;
  options.opt.tie_word_embeddings = tied;
  torch::manual_seed(3);
  auto model = make_language_model(options);
  model->module().eval();
  save_model_tensors(named_parameters(model->module()), folder);
  write_json(folder / "config.json", write_config(options));
  return model;
}

TEST(LoadLanguageModel, OptEndsAtTheNewlineThatCaptionsAreTrainedWith) {
  const TemporaryFolder folder;
  write_opt(folder.path(), /*tied=*/true);
  const LanguageModelFolder loaded = load_language_model(folder.path());
  const auto newline = loaded.tokenizer->encode("\n", /*add_special_tokens=*/false);
  ASSERT_EQ(newline.size(), 1U);
  EXPECT_NE(newline.front(), 2);
  EXPECT_EQ(loaded.model->special_ids().end, newline.front());
  EXPECT_EQ(loaded.options.opt.eos_token_id, newline.front());
}

TEST(LoadLanguageModel, AnUntiedHeadIsRead) {
  for (const bool tied : {true, false}) {
    const TemporaryFolder folder;
    const auto written = write_opt(folder.path(), tied);
    const LanguageModelFolder loaded = load_language_model(folder.path());
    const torch::NoGradGuard no_grad;
    const at::Tensor ids = torch::tensor({{2, 5, 9}}, torch::kLong);
    auto next = [&](LanguageModel& model) { return model.begin({model.embed(ids), torch::ones_like(ids)}).second; };
    EXPECT_TRUE(torch::equal(next(*loaded.model), next(*written))) << "tied: " << tied;
  }
}

LanguageModelOptions small_t5() {
  LanguageModelOptions options;
  options.model_type = "t5";
  options.t5.vocab_size = 501;
  options.t5.d_model = 16;
  options.t5.d_kv = 8;
  options.t5.d_ff = 24;
  options.t5.num_layers = 1;
  options.t5.num_heads = 2;
  options.t5.feed_forward_proj = "gated-gelu";
  options.t5.is_gated_act = true;
  options.t5.dense_act_fn = "gelu_new";
  options.t5.tie_word_embeddings = false;
  return options;
}

TEST(LoadLanguageModel, FlanT5HasTheExactGeluAndTheHeadInItsFile) {
  const TemporaryFolder folder;
  fs::copy(test_data("text/t5"), folder.path(), fs::copy_options::recursive | fs::copy_options::overwrite_existing);
  const auto model = make_language_model(small_t5());
  NamedTensors tensors = named_parameters(model->module());
  const at::Tensor head = tensors.at("lm_head.weight").detach().clone();
  // Old files carry a second bias that nothing reads.
  tensors["decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"] = torch::zeros({32, 2});
  save_model_tensors(tensors, folder.path());
  nlohmann::json config = write_config(small_t5());
  config["tie_word_embeddings"] = true;  // newer files say so, whatever they hold
  config["scale_decoder_outputs"] = false;
  write_json(folder.path() / "config.json", config);

  const LanguageModelFolder loaded = load_language_model(folder.path());
  EXPECT_EQ(loaded.options.t5.dense_act_fn, "gelu");
  const NamedTensors parameters = named_parameters(loaded.model->module());
  ASSERT_EQ(parameters.count("lm_head.weight"), 1U);
  EXPECT_TRUE(torch::equal(parameters.at("lm_head.weight"), head));
}

TEST(JoinForStage2, TheFirstStagesPlaceholderIsNoTokenOfTheLanguageModel) {
  const TemporaryFolder folder;
  const fs::path stage1 = folder.path() / "stage1", language_model = folder.path() / "opt";
  fs::copy(test_data("cases/itm_tiny/model"), stage1);
  nlohmann::json config = load_json(stage1 / "config.json");
  config["image_token_index"] = 30;  // in BERT's vocabulary
  write_json(stage1 / "config.json", config);
  fs::create_directory(language_model);
  write_opt(language_model, /*tied=*/true);
  EXPECT_EQ(load_representation_model(stage1).model->options().image_token_index, 30);
  EXPECT_FALSE(join_for_stage2(stage1, language_model).model->options().image_token_index.has_value());
}

VisionOptions small_vision(std::int64_t layers) {
  VisionOptions options;
  options.hidden_size = 16;
  options.intermediate_size = 24;
  options.num_attention_heads = 2;
  options.image_size = 28;
  options.num_hidden_layers = layers;
  return options;
}

TEST(LoadVisionTower, BlocksBeyondTheTowersArePassedOver) {
  const TemporaryFolder folder;
  const auto published = make_vision_encoder(small_vision(3));
  NamedTensors tensors;
  for (const auto& [name, tensor] : named_parameters(*published)) tensors.emplace("vision_model." + name, tensor);
  save_model_tensors(tensors, folder.path());
  const auto tower = make_vision_encoder(small_vision(2));
  load_vision_tower(*tower, folder.path());
  for (const auto& [name, tensor] : named_parameters(*tower)) {
    if (name.starts_with("post_layernorm")) continue;
    EXPECT_TRUE(torch::equal(tensor, tensors.at("vision_model." + name))) << name;
  }
  const auto deeper = make_vision_encoder(small_vision(4));
  EXPECT_USER_ERROR((load_vision_tower(*deeper, folder.path()), 0), "'vision_model.encoder.layers.3.");
}

}  // namespace
}  // namespace blip2
