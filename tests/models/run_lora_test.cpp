// Adapters of a run: beside its own weights, beside those of its frozen parts, and named besides; each counts once.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <fstream>

#include "blip2/checkpoint/hugging_face.h"
#include "blip2/checkpoint/module_state.h"
#include "blip2/core/config.h"
#include "blip2/models/published_folder.h"
#include "models/stage1_heads.h"
#include "support/expect_error.h"
#include "support/reference.h"
#include "support/temporary_folder.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kTower = "vision_model.encoder.layers.0.mlp.fc1.weight";
constexpr const char* kQuery = "qformer.encoder.layer.0.attention.attention.query.weight";
constexpr const char* kLanguage = "language_model.model.decoder.layers.0.self_attn.k_proj.weight";
constexpr const char* kText = "text_projection.weight";

void write_json(const fs::path& file, const json& value) {
  std::ofstream(file) << value.dump();
}

/** An adapter in `folder` of rank 2 and scale 3 that adds sum() of its numbers to the parameters of these shapes. */
void write_adapter(const fs::path& folder, const std::map<std::string, std::vector<std::int64_t>>& shapes,
                   double alpha = 6) {
  fs::create_directories(folder);
  NamedTensors tensors;
  torch::manual_seed(5);
  for (const auto& [name, shape] : shapes) {
    const std::string module = "base_model.model." + name.substr(0, name.rfind('.'));
    tensors[module + ".lora_A.weight"] = torch::randn({2, shape[1]});
    tensors[module + ".lora_B.weight"] = torch::randn({shape[0], 2});
  }
  save_safetensors(tensors, folder / "adapter_model.safetensors");
  write_json(folder / "adapter_config.json", {{"peft_type", "LORA"}, {"r", 2}, {"lora_alpha", alpha}});
}

void remove_adapter(const fs::path& folder) {
  fs::remove(folder / "adapter_model.safetensors");
  fs::remove(folder / "adapter_config.json");
}

at::Tensor change(const fs::path& folder, const std::string& name) {
  const LoraUpdate update = LoraAdapter(folder).updates().at(name);
  return update.scale * update.b.matmul(update.a);
}

/** A stage-2 run without training in `stage2`, its frozen parts in `tower`, `stage1` and `opt`. */
class RunLora : public testing::Test {
 protected:
  RunLora() {
    const RepresentationModel first = load_representation_model(test_data("cases/itm_tiny/model"));
    NamedTensors tower, rest;
    for (const auto& [name, tensor] : named_parameters(*first.model)) {
      (is_frozen(name) ? tower : rest).emplace(name, tensor);
    }
    for (const char* name : {"tower", "opt", "stage1/checkpoint", "stage1/tokenizer", "stage2/checkpoint"}) {
      fs::create_directories(at(name));
    }
    save_model_tensors(tower, at("tower"));
    save_model_tensors(rest, at("stage1/checkpoint"));
    first.tokenizer->save(at("stage1/tokenizer"));
    stage1_ = {{"model", write_config(first.model->options())}, {"vision", {{"frozen", true}}}};

    const fs::path published = test_data("cases/opt_sharded_bf16/model");
    NamedTensors language;
    for (const auto& [name, tensor] : load_model_tensors(published)) {
      if (name.starts_with("language_model.")) language.emplace(name.substr(15), tensor);
    }
    save_model_tensors(language, at("opt"));
    write_json(at("opt/config.json"), load_json(published / "config.json").at("text_config"));
    for (const char* file : {"tokenizer.json", "tokenizer_config.json"}) fs::copy(published / file, at("opt"));
    write_configs();
    NamedTensors trained;
    for (const auto& [name, tensor] : named_parameters(*join_for_stage2(at("stage1"), at("opt")).model)) {
      if (!is_frozen(name) && !name.starts_with("language_model.")) trained.emplace(name, tensor);
    }
    save_model_tensors(trained, at("stage2/checkpoint"));
  }

  fs::path at(const std::string& name) const { return parent_.path() / name; }

  /** After a change to what a run is built on, as if it had been trained on that. */
  void write_configs() {
    stage1_["origins"] = {{"vision", write_config(describe_origin(at("tower")))}};
    write_json(at("stage1/checkpoint/config.json"), stage1_);
    write_json(at("stage2/checkpoint/config.json"), {{"origins",
                                                      {{"stage1", write_config(describe_origin(at("stage1")))},
                                                       {"language_model", write_config(describe_origin(at("opt")))}}}});
  }

  at::Tensor stage1(const std::string& name, const LoraFolders& lora = {},
                    WeightFormat format = WeightFormat::kFloat32) const {
    return named_parameters(*load_representation_model(at("stage1"), format, lora).model).at(name).detach();
  }
  at::Tensor stage2(const std::string& name, const LoraFolders& lora = {},
                    WeightFormat format = WeightFormat::kFloat32) const {
    return named_parameters(*load_generator_model(at("stage2"), format, lora).model).at(name).detach();
  }

 private:
  static bool is_frozen(const std::string& name) {
    return name.starts_with("vision_model.") && !name.starts_with("vision_model.post_layernorm.");
  }

  TemporaryFolder parent_;
  json stage1_;
};

TEST_F(RunLora, OneBesideAFrozenPartIsMergedOnceWhoeverNamesIt) {
  const at::Tensor language = stage2(kLanguage), tower = stage2(kTower);
  write_adapter(at("opt"), {{"model.decoder.layers.0.self_attn.k_proj.weight", {40, 40}}});
  write_adapter(at("tower"), {{kTower, {101, 48}}});
  write_configs();
  const at::Tensor adapted = language + change(at("opt"), "model.decoder.layers.0.self_attn.k_proj.weight");
  fs::create_directory_symlink(at("opt"), at("link"));
  for (const LoraFolders& lora : {LoraFolders{}, {at("opt")}, {at("stage1/../opt/")}, {at("link"), at("tower")}}) {
    expect_close(stage2(kLanguage, lora), adapted, 1e-6, kLanguage);
    expect_close(stage2(kTower, lora), tower + change(at("tower"), kTower), 1e-6, kTower);
  }
  expect_close(stage1(kTower, {at("tower")}), tower + change(at("tower"), kTower), 1e-6, kTower);
}

TEST_F(RunLora, OneThatIsNamedTwiceIsRefused) {
  write_adapter(at("adapter"), {{kQuery, {32, 32}}});
  const LoraFolders twice{at("adapter"), at("opt/../adapter")};
  const std::string sentence =
      "the adapter in '" + twice[1].string() + "' is named twice: every adapter is merged once";
  EXPECT_USER_ERROR(stage1(kQuery, twice), sentence);
  EXPECT_USER_ERROR(stage2(kQuery, twice), sentence);
  EXPECT_USER_ERROR(load_generator_model(test_data("cases/opt_sharded_bf16/model"), WeightFormat::kFloat32, twice),
                    sentence);
}

TEST_F(RunLora, OneBesideTheRunsOwnWeightsReachesEveryPart) {
  const std::map<std::string, std::vector<std::int64_t>> shapes{
      {kTower, {101, 48}}, {kQuery, {32, 32}}, {kLanguage, {40, 40}}, {"language_projection.weight", {40, 32}}};
  const fs::path own = at("stage2/checkpoint");
  NamedTensors before, halves;
  for (const auto& [name, shape] : shapes) before[name] = stage2(name);
  write_adapter(own, shapes);
  for (const auto format : {WeightFormat::kFloat32, WeightFormat::kAsStored}) {
    for (const auto& [name, shape] : shapes) {
      expect_close(stage2(name, {}, format), before[name] + change(own, name), 1e-6, name);
      expect_close(stage2(name, {own}, format), before[name] + change(own, name), 1e-6, name);
    }
  }
  write_adapter(own, {{"qformer.nothing.weight", {2, 2}}});
  EXPECT_USER_ERROR(stage2(kQuery),
                    "this adapter does not fit the model: 'qformer.nothing.weight' is not in the model");
}

TEST_F(RunLora, OneBesideAStage1RunReachesItsFrozenTower) {
  const at::Tensor tower = stage1(kTower), text = stage1(kText), query = stage2(kQuery);
  const fs::path own = at("stage1/checkpoint");
  write_adapter(own, {{kTower, {101, 48}}, {kQuery, {32, 32}}, {kText, {20, 32}}});
  write_configs();
  expect_close(stage1(kTower), tower + change(own, kTower), 1e-6, kTower);
  expect_close(stage1(kText), text + change(own, kText), 1e-6, kText);
  expect_close(stage1(kTower, {own}), tower + change(own, kTower), 1e-6, kTower);
  // Stage 2 has no text side, and its Q-Former is the one that the run learnt.
  expect_close(stage2(kTower), tower + change(own, kTower), 1e-6, kTower);
  expect_close(stage2(kQuery), query, 1e-6, kQuery);
  const Blip2Generator start = join_for_stage2(at("stage1"), at("opt")).model;
  expect_close(named_parameters(*start).at(kQuery), query + change(own, kQuery), 1e-6, kQuery);
  // Before rounding: the codes are those of the adapted matrix.
  const at::Tensor rounded = stage1(kTower, {}, WeightFormat::kInt8);
  EXPECT_EQ(rounded.scalar_type(), at::kChar);
  remove_adapter(own);
  write_configs();
  EXPECT_FALSE(torch::equal(stage1(kTower, {}, WeightFormat::kInt8), rounded));
}

TEST_F(RunLora, OneThatReachesAHeadOfARetrievalFolderIsMergedToo) {
  const std::string head = "itg_head.transform.dense.weight";
  fs::copy(test_data("cases/itm_tiny/model"), at("published"));
  const RepresentationModel model = load_representation_model(at("published"));
  save_stage1_heads(*model.model, at("published"));
  write_adapter(at("published"), {{head, {32, 32}}});
  const at::Tensor merged = named_parameters(*load_representation_model(at("published")).model).at(head);
  expect_close(merged, named_parameters(*model.model).at(head).detach() + change(at("published"), head), 1e-6, head);
}

TEST_F(RunLora, TheFingerprintKnowsScaleAndShape) {
  const std::string name = "model.decoder.layers.0.self_attn.k_proj.weight";
  const auto fingerprint = [&](const std::vector<std::int64_t>& shape, double alpha) {
    write_adapter(at("opt"), {{name, shape}}, alpha);
    return describe_origin(at("opt")).fingerprint;
  };
  const std::string before = fingerprint({40, 40}, 6);
  EXPECT_EQ(fingerprint({40, 40}, 6), before);
  EXPECT_NE(fingerprint({40, 40}, 8), before);
  // The same numbers in other shapes: a column of 4 and a row of 2 against 2 and 4.
  const auto zeros = [&](std::int64_t in, std::int64_t out) {
    const std::string module = "base_model.model." + name.substr(0, name.rfind('.'));
    save_safetensors(
        {{module + ".lora_A.weight", torch::zeros({2, in})}, {module + ".lora_B.weight", torch::zeros({out, 2})}},
        at("opt/adapter_model.safetensors"));
    return describe_origin(at("opt")).fingerprint;
  };
  EXPECT_NE(zeros(2, 4), zeros(4, 2));
}

}  // namespace
}  // namespace blip2
