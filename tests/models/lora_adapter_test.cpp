// Adapters merged while a model is loaded, against PEFT's unmerged ones (scripts/make_lora_test_data.py).
#include "blip2/models/lora_adapter.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <fstream>

#include "blip2/checkpoint/hugging_face.h"
#include "blip2/checkpoint/module_state.h"
#include "blip2/core/config.h"
#include "blip2/models/published_folder.h"
#include "blip2/trace/trace_inputs.h"
#include "support/expect_error.h"
#include "support/reference.h"
#include "support/temporary_folder.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const fs::path kModel = test_data("cases/opt_sharded_bf16/model");
constexpr const char* kQuery = "language_model.model.decoder.layers.0.self_attn.q_proj.weight";

fs::path adapter(const std::string& name) {
  return test_data("lora/" + name);
}

at::Tensor logits(const fs::path& model, const LoraFolders& lora) {
  const NamedTensors given = load_safetensors(test_data("cases/opt_sharded_bf16/inputs.safetensors"));
  const NamedTensors inputs{{"pixel_values", given.at("pixel_values")},
                            {"input_ids", given.at("forward.left.input_ids")},
                            {"attention_mask", given.at("forward.left.attention_mask")}};
  TraceOptions options;
  options.lora = lora;
  return trace_inputs(model, inputs, options).at("logits").slice(1, -4).slice(2, 0, std::nullopt, 9);
}

NamedTensors expected(const std::string& name) {
  return load_safetensors(adapter(name) / "expected.safetensors");
}

/** A copy of a folder that a test may change. */
fs::path copy_of(const fs::path& folder, const TemporaryFolder& place, const std::string& name) {
  fs::copy(folder, place.path() / name);
  return place.path() / name;
}

void change_config(const fs::path& folder, const std::function<void(json&)>& change) {
  json config = load_json(folder / "adapter_config.json");
  change(config);
  std::ofstream(folder / "adapter_config.json") << config.dump();
}

TEST(Lora, AMergedModelSaysWhatPeftSays) {
  const at::Tensor with = logits(kModel, {adapter("opt")});
  expect_close(with, expected("opt").at("logits"), 2e-5, "logits");
  EXPECT_GT((with - logits(kModel, {})).abs().max().item<double>(), 1e-2);
}

TEST(Lora, AnAdapterOfTheLanguageModelAloneFitsTheWholeModel) {
  expect_close(logits(kModel, {adapter("opt_alone")}), expected("opt_alone").at("logits"), 2e-5, "logits");
}

TEST(Lora, AnAdapterInTheModelsFolderIsMergedOnce) {
  const TemporaryFolder place;
  const fs::path model = copy_of(kModel, place, "model");
  fs::copy(adapter("opt") / "adapter_config.json", model);
  fs::copy(adapter("opt") / "adapter_model.safetensors", model);
  expect_close(logits(model, {}), expected("opt").at("logits"), 2e-5, "logits");
  expect_close(logits(model, {model}), expected("opt").at("logits"), 2e-5, "logits");
}

TEST(Lora, AnAdapterBesideALanguageModelIsMergedAndPartOfTheFingerprint) {
  const TemporaryFolder place;
  const std::string prefix = "language_model.";
  NamedTensors tensors;
  for (const auto& [name, tensor] : load_model_tensors(kModel)) {
    if (name.starts_with(prefix)) tensors.emplace(name.substr(prefix.size()), tensor);
  }
  save_model_tensors(tensors, place.path());
  std::ofstream(place.path() / "config.json") << load_json(kModel / "config.json").at("text_config");
  for (const char* file : {"tokenizer.json", "tokenizer_config.json"}) fs::copy(kModel / file, place.path());
  const std::string name = "model.decoder.layers.0.self_attn.v_proj.weight";
  const auto weight = [&] { return named_parameters(load_language_model(place.path()).model->module()).at(name); };
  const at::Tensor before = weight();
  const std::string fingerprint = describe_origin(place.path()).fingerprint;
  fs::copy(adapter("opt_alone") / "adapter_config.json", place.path());
  fs::copy(adapter("opt_alone") / "adapter_model.bin", place.path());
  const LoraAdapter read(place.path());
  const LoraUpdate& update = read.updates().at(name);
  EXPECT_EQ(update.scale, 2.0);
  const torch::NoGradGuard no_grad;
  expect_close(weight(), before + 2.0 * update.b.matmul(update.a), 1e-6, name);
  EXPECT_NE(describe_origin(place.path()).fingerprint, fingerprint);
}

TEST(Lora, SeveralAdaptersAddUp) {
  const Blip2Generator one = load_generator_model(kModel, WeightFormat::kFloat32, {adapter("opt")}).model;
  merge_lora(*one.ptr(), adapter("opt"));
  const TemporaryFolder place;
  const fs::path again = copy_of(adapter("opt"), place, "again");
  const Blip2Generator two = load_generator_model(kModel, WeightFormat::kFloat32, {adapter("opt"), again}).model;
  EXPECT_TRUE(torch::equal(named_parameters(*one).at(kQuery), named_parameters(*two).at(kQuery)));
}

TEST(Lora, T5IsMergedAsPeftSays) {
  const json config = load_json(test_data("lm/t5_relu_tied/config.json"));
  LanguageModelOptions options;
  read_config(config.at("text_config"), options, "config.json", UnknownKeys::kIgnore);
  const auto model = make_language_model(options);
  fill_parameters(model->module(), load_safetensors(test_data("lm/t5_relu_tied/model.safetensors")));
  merge_lora(model->module(), adapter("t5"));
  model->module().eval();
  const torch::NoGradGuard no_grad;
  const at::Tensor ids = expected("t5").at("input_ids");
  const at::Tensor next = model->begin({model->embed(ids), torch::ones_like(ids)}).second;
  expect_close(next, expected("t5").at("logits"), 1e-5, "logits");
}

TEST(Lora, WhatItChangesBecomesFloat32AndTheRestStaysAsStored) {
  const auto exact = named_parameters(*load_generator_model(kModel, WeightFormat::kFloat32, {adapter("opt")}).model);
  const auto stored = named_parameters(*load_generator_model(kModel, WeightFormat::kAsStored, {adapter("opt")}).model);
  const LoraAdapter changed(adapter("opt"));
  int narrow = 0;
  for (const auto& [name, parameter] : stored) {
    if (changed.updates().count(name) != 0) {
      EXPECT_EQ(parameter.scalar_type(), at::kFloat) << name;
    }
    EXPECT_TRUE(torch::equal(parameter.to(at::kFloat), exact.at(name))) << name;
    narrow += parameter.scalar_type() == at::kBFloat16 ? 1 : 0;
  }
  EXPECT_GT(narrow, 10);
}

TEST(Lora, IsMergedBeforeRounding) {
  const TemporaryFolder place;
  const fs::path merged = copy_of(kModel, place, "model");
  save_safetensors(named_parameters(*load_generator_model(kModel, WeightFormat::kFloat32, {adapter("opt")}).model),
                   merged / "model.safetensors");
  for (const auto format : {WeightFormat::kInt8, WeightFormat::kInt4}) {
    const auto direct = named_parameters(*load_generator_model(kModel, format, {adapter("opt")}).model);
    const auto expected = named_parameters(*load_generator_model(merged, format).model);
    for (const auto& [name, parameter] : expected) {
      EXPECT_TRUE(torch::equal(direct.at(name).to(parameter.scalar_type()), parameter)) << name;
    }
  }
  const Blip2Generator rounded = load_generator_model(kModel, WeightFormat::kInt8).model;
  EXPECT_USER_ERROR((merge_lora(*rounded.ptr(), adapter("opt")), 0), "is rounded to int8 or int4 already");
}

TEST(Lora, NamesEverythingThatIsNoPlainLora) {
  const TemporaryFolder place;
  const fs::path folder = copy_of(adapter("opt"), place, "adapter");
  change_config(folder, [](json& config) {
    config["use_dora"] = true;
    config["bias"] = "all";
    config["modules_to_save"] = {"lm_head"};
    config["init_lora_weights"] = "pissa";
  });
  NamedTensors tensors = load_safetensors(folder / "adapter_model.safetensors");
  const std::string first = tensors.begin()->first;
  tensors["base_model.model.lm_head.weight"] = torch::zeros({2, 2});
  tensors.erase(first);
  save_safetensors(tensors, folder / "adapter_model.safetensors");
  EXPECT_USER_ERROR(LoraAdapter(folder),
                    "this adapter cannot be merged: bias is 'all', expected 'none', modules_to_save is [\"lm_head\"], "
                    "use_dora is true, init_lora_weights is 'pissa', which changes the base model, "
                    "'base_model.model.lm_head.weight' is no lora_A or lora_B of a layer, "
                    "'language_model.model.decoder.layers.0.fc1' has no lora_A");
  change_config(folder, [](json& config) { config = {{"peft_type", "IA3"}}; });
  EXPECT_USER_ERROR(LoraAdapter(folder), "peft_type is 'IA3', expected 'LORA', r is missing, lora_alpha is missing");
}

TEST(Lora, RefusesARankThatIsNotTheConfigsAndPatternsThatAreNone) {
  const TemporaryFolder place;
  const fs::path folder = copy_of(adapter("opt_alone"), place, "adapter");
  change_config(folder, [](json& config) { config["r"] = 4; });
  EXPECT_USER_ERROR(LoraAdapter(folder), "has lora_A [2, 40] and lora_B [40, 2], expected rank 4");
  change_config(folder, [](json& config) { config["r"] = 2; });
  EXPECT_EQ(LoraAdapter(folder).updates().size(), 6U);
  for (const std::string pattern : {"(", "(.+)+!"}) {
    change_config(folder, [&](json& config) { config["alpha_pattern"] = {{pattern, 1}}; });
    EXPECT_USER_ERROR(LoraAdapter(folder), "pattern '" + pattern + "' is no regular expression, or takes too long");
  }
  fs::remove(folder / "adapter_model.bin");
  EXPECT_USER_ERROR(LoraAdapter(folder), "holds neither adapter_model.safetensors nor adapter_model.bin");
  EXPECT_USER_ERROR(LoraAdapter(kModel), "holds no adapter_config.json: expected the folder of a PEFT adapter");
}

TEST(Lora, NamesEveryMatrixThatDoesNotFitAndChangesNothing) {
  auto generator = load_generator_model(kModel);
  const TemporaryFolder place;
  const fs::path folder = copy_of(adapter("opt"), place, "adapter");
  NamedTensors tensors;
  const std::string layer = "base_model.model.language_model.model.decoder.layers.0.self_attn.";
  tensors[layer + "q_proj.lora_A.weight"] = torch::ones({3, 40});
  tensors[layer + "q_proj.lora_B.weight"] = torch::ones({40, 3});
  tensors[layer + "v_proj.lora_A.weight"] = torch::ones({3, 41});
  tensors[layer + "v_proj.lora_B.weight"] = torch::ones({40, 3});
  tensors[layer + "extra.lora_A.weight"] = torch::ones({3, 40});
  tensors[layer + "extra.lora_B.weight"] = torch::ones({40, 3});
  save_safetensors(tensors, folder / "adapter_model.safetensors");
  const at::Tensor before = named_parameters(*generator.model).at(kQuery).detach().clone();
  EXPECT_USER_ERROR((merge_lora(*generator.model, folder), 0),
                    "this adapter does not fit the model: "
                    "'language_model.model.decoder.layers.0.self_attn.extra.weight' is not in the model, "
                    "'language_model.model.decoder.layers.0.self_attn.v_proj.weight' is adapted as [40, 41] where the "
                    "model has [40, 40]");
  EXPECT_TRUE(torch::equal(named_parameters(*generator.model).at(kQuery), before));
  EXPECT_USER_ERROR(load_generator_model(kModel, WeightFormat::kInt8, {folder}), "does not fit the model");
}

}  // namespace
}  // namespace blip2
