// Names in both directions: what is made of our models must be LAVIS's own checkpoints to the bit
// (scripts/make_lavis_test_data.py), and come back.
#include "blip2/models/lavis_names.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <filesystem>

#include "blip2/checkpoint/torch_archive.h"
#include "blip2/core/config.h"
#include "models/name_table.h"
#include "support/expect_error.h"
#include "support/reference.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

std::string fingerprint(const at::Tensor& tensor) {
  const at::Tensor data = tensor.contiguous();
  const auto* bytes = static_cast<const unsigned char*>(data.const_data_ptr());
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (std::size_t i = 0; i < data.nbytes(); ++i) hash = (hash ^ bytes[i]) * 0x100000001b3ULL;
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

/** Compares with what LAVIS's file holds; `absent`: names that need not be there. Gives how many were compared. */
std::size_t expect_lavis(const NamedTensors& actual, const std::string& model,
                         const std::function<bool(const std::string&)>& absent) {
  nlohmann::json expected = load_json(test_data("lavis/" + model + ".json"));
  for (const auto& [name, tensor] : actual) {
    const auto found = expected.find(name);
    EXPECT_NE(found, expected.end()) << name;
    if (found == expected.end()) continue;
    EXPECT_EQ((*found)[0], tensor.scalar_type() == at::kLong ? "int64" : "float32") << name;
    EXPECT_EQ((*found)[1], nlohmann::json(tensor.sizes().vec())) << name;
    EXPECT_EQ((*found)[2], fingerprint(tensor)) << name;
    expected.erase(found);
  }
  for (const auto& [name, entry] : expected.items()) EXPECT_TRUE(absent(name)) << name << " is missing";
  return actual.size();
}

void expect_equal(const NamedTensors& actual, const NamedTensors& expected) {
  EXPECT_EQ(actual.size(), expected.size());
  for (const auto& [name, tensor] : expected) {
    ASSERT_EQ(actual.count(name), 1U) << name;
    EXPECT_TRUE(torch::equal(actual.at(name), tensor)) << name;
  }
}

NamedTensors model_tensors(const std::string& model) {
  return load_safetensors(test_data("models/" + model + "/model.safetensors"));
}

TEST(LavisNames, Stage1IsLavissFileToTheBitAndComesBack) {
  const NamedTensors ours = model_tensors("stage1_model");
  EXPECT_EQ(lavis_model_of_hugging_face(ours), LavisModel::kQFormer);
  const NamedTensors lavis = to_lavis(ours, LavisModel::kQFormer, 64, "ours").tensors;
  EXPECT_EQ(expect_lavis(lavis, "stage1_model", [](const auto&) { return false; }), 173U);
  EXPECT_EQ(lavis_model(lavis), LavisModel::kQFormer);
  const RenamedTensors back = from_lavis(lavis, "lavis");
  expect_equal(back.tensors, ours);
  EXPECT_EQ(back.passed_over,
            (std::vector<std::string>{"Qformer.bert.embeddings.position_ids", "Qformer.cls.predictions.decoder.bias",
                                      "Qformer.cls.predictions.decoder.weight"}));
}

TEST(LavisNames, Stage2IsLavissFileToTheBitAndComesBack) {
  for (const auto& [name, kind] :
       {std::pair("stage2_opt_model", LavisModel::kOpt), std::pair("stage2_t5_model", LavisModel::kT5)}) {
    SCOPED_TRACE(name);
    const NamedTensors ours = model_tensors(name);
    EXPECT_EQ(lavis_model_of_hugging_face(ours), kind);
    const NamedTensors lavis = to_lavis(ours, kind, 64, "ours").tensors;
    // Tied tables, which ours has once.
    expect_lavis(lavis, name, [](const std::string& missing) {
      return missing.ends_with("lm_head.weight") || missing.ends_with("embed_tokens.weight");
    });
    EXPECT_EQ(lavis_model(lavis), kind);
    expect_equal(from_lavis(lavis, "lavis").tensors, ours);
  }
}

TEST(LavisNames, AnImageEncoderAloneHasNoPrefixAndComesBack) {
  NamedTensors clip;
  for (const auto& [name, tensor] : load_safetensors(test_data("vision/clip_model.safetensors"))) {
    clip.emplace("vision_model." + name, tensor);
  }
  EXPECT_EQ(lavis_model_of_hugging_face(clip), LavisModel::kImageEncoder);
  NamedTensors lavis = to_lavis(clip, LavisModel::kImageEncoder, 0, "ours").tensors;
  expect_lavis(lavis, "clip_vit", [](const std::string& missing) {
    return missing.starts_with("ln_post.") || missing == "proj" || missing.starts_with("transformer.resblocks.3.");
  });
  lavis["proj"] = lavis["ln_post.weight"] = torch::zeros({4});
  EXPECT_EQ(lavis_model(lavis), LavisModel::kImageEncoder);
  const RenamedTensors back = from_lavis(lavis, "lavis");
  expect_equal(back.tensors, clip);
  EXPECT_EQ(back.passed_over.size(), 2U);

  NamedTensors eva;
  for (const auto& [name, tensor] : model_tensors("stage1_model")) {
    if (name.starts_with("vision_model.")) eva.emplace(name, tensor);
  }
  const RenamedTensors bare = to_lavis(eva, LavisModel::kImageEncoder, 0, "ours");
  EXPECT_EQ(bare.tensors.count("blocks.2.attn.q_bias"), 1U);
  EXPECT_EQ(bare.passed_over.size(), 2U);  // LAVIS's ln_vision is no part of the encoder
  eva.erase("vision_model.post_layernorm.weight");
  eva.erase("vision_model.post_layernorm.bias");
  expect_equal(from_lavis(bare.tensors, "lavis").tensors, eva);
}

TEST(LavisNames, EveryTensorWithoutACounterpartIsNamed) {
  NamedTensors lavis = to_lavis(model_tensors("stage1_model"), LavisModel::kQFormer, 64, "ours").tensors;
  lavis["Qformer.bert.pooler.dense.weight"] = torch::zeros({2, 2});
  lavis["visual_encoder.blocks.0.gamma_1"] = torch::zeros({2});
  lavis.erase("visual_encoder.blocks.1.attn.v_bias");
  lavis["Qformer.cls.predictions.decoder.weight"] = lavis["Qformer.cls.predictions.decoder.weight"] * 2;
  EXPECT_USER_ERROR(from_lavis(lavis, "file.pth"),
                    "'file.pth': 4 tensors have no counterpart in Hugging Face's BLIP-2: "
                    "'Qformer.bert.pooler.dense.weight', 'Qformer.cls.predictions.decoder.weight', "
                    "'visual_encoder.blocks.0.gamma_1', 'visual_encoder.blocks.1.attn.q_bias'");
  NamedTensors ours = model_tensors("stage2_t5_model");
  const std::string bias = "vision_model.encoder.layers.1.self_attn.qkv.bias";
  ours[bias] = torch::ones_like(ours[bias]);
  ours["embeddings.token_type_embeddings.weight"] = torch::zeros({2, 36});
  EXPECT_USER_ERROR(
      to_lavis(ours, LavisModel::kT5, 64, "folder"),
      "'folder': 2 tensors have no counterpart in LAVIS: 'embeddings.token_type_embeddings.weight', '" + bias +
          "'; LAVIS's image encoder has no bias for the keys, and here it is not zero: --without-frozen leaves");
  EXPECT_USER_ERROR(to_lavis(ours, LavisModel::kQFormer, 64, "folder"), "'language_projection.weight'");
}

TEST(LavisNames, TwoTensorsForOnePlaceAreRefused) {
  const NamedTensors lavis{{"opt_proj.bias", torch::zeros({2})}, {"t5_proj.bias", torch::zeros({2})}};
  EXPECT_USER_ERROR(from_lavis(lavis, "file.pth"),
                    "1 tensor has no counterpart in Hugging Face's BLIP-2: 't5_proj.bias'");
}

TEST(LavisNames, PatternsMatchWholeNamesOnly) {
  EXPECT_EQ(renamed("a.#.b.*", "x.#.*", "a.12.b.weight"), "x.12.weight");
  EXPECT_EQ(renamed("a.#.b", "x.#", "a.7.b"), "x.7");
  for (const char* name : {"a.b.b.weight", "a.12.b.", "a.12.b", "za.12.b.weight", "a..b.weight", ""}) {
    EXPECT_FALSE(renamed("a.#.b.*", "x.#.*", name)) << name;
  }
  EXPECT_FALSE(renamed("a.#.b", "x.#", "a.7.bc"));
}

TEST(LavisNames, LavissOwnFilesComeInWhereTheyAreAtHand) {
  const fs::path set = fs::path(BLIP2_SHARED_DATA) / "fixtures/lavis";
  if (!fs::exists(set)) return;
  const NamedTensors stage1 = from_lavis(load_torch_state_dict(set / "stage1_model/model.pth"), "model.pth").tensors;
  expect_equal(stage1, model_tensors("stage1_model"));
  const fs::path runner = set / "stage1_train/checkpoint_runner_step6.pth";
  EXPECT_GT(from_lavis(load_torch_state_dict(runner), "runner.pth").tensors.size(), 100U);
  for (const std::string model : {"stage2_opt_model", "stage2_t5_model"}) {
    const auto tensors = from_lavis(load_safetensors(set / model / "model.safetensors"), model).tensors;
    for (const auto& [name, tensor] : model_tensors(model)) {
      ASSERT_EQ(tensors.count(name), 1U) << name;
      EXPECT_TRUE(torch::equal(tensors.at(name), tensor)) << name;
    }
  }
}

}  // namespace
}  // namespace blip2
