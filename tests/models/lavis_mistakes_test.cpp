// What a conversion between folders and LAVIS checkpoints refuses, before anything is written.
#include "blip2/core/config.h"
#include "blip2/models/lavis_checkpoint.h"
#include "blip2/models/published_folder.h"
#include "models/lavis_folders.h"
#include "support/expect_error.h"

namespace blip2 {
namespace {

using nlohmann::json;

class LavisMistakes : public LavisFolders {};

TEST_F(LavisMistakes, RefusesFoldersThatAreNoPublishedModels) {
  fs::create_directory(at("run"));
  std::ofstream(at("run") / "config.json") << R"({"model": {}})";
  EXPECT_USER_ERROR(folder_to_lavis(at("run"), at("model.pth")),
                    "is a run of our trainers: export it as a Hugging Face folder first");
  fs::copy(kRetrieval, at("adapted"));
  std::ofstream(at("adapted") / "adapter_config.json") << "{}";
  EXPECT_USER_ERROR(folder_to_lavis(at("adapted"), at("model.pth")), "holds an adapter, which LAVIS does not know");
}

TEST_F(LavisMistakes, SizesThatNoWeightsBearOutAreRefusedBeforeTheyTakeMemory) {
  folder_to_lavis(kRetrieval, at("model.pth"));
  json config = load_json(kRetrieval / "config.json");
  for (const char* section : {"vision_config", "qformer_config"}) {
    json huge = config;
    huge[section]["intermediate_size"] = 1 << 24;
    std::ofstream(at("huge.json")) << huge;
    LavisSources sources;
    sources.config = at("huge.json");
    sources.tokenizer = kRetrieval;
    EXPECT_USER_ERROR(
        lavis_to_folder(at("model.pth"), at("back"), sources),
        "huge.json' says " + std::string(section) + ".intermediate_size 16777216, but the weights do not hold as much");
  }
}

TEST_F(LavisMistakes, NothingThatIsReadIsReplaced) {
  const fs::path both = at("m");
  fs::copy(kRetrieval, both);
  folder_to_lavis(kRetrieval, both / "itm.pth");
  LavisSources sources;
  sources.like = both;
  EXPECT_USER_ERROR(lavis_to_folder(both / "itm.pth", both, sources),
                    "will not replace '" + both.string() + "': '" + (both / "itm.pth").string() +
                        "', which is read, lies in it, choose another name");
  fs::copy(both / "itm.pth", at("itm.pth"));
  fs::create_symlink(both, at("link"));
  for (const fs::path& same : {both, both / "", at("link"), both / ".." / "m"}) {
    EXPECT_USER_ERROR(lavis_to_folder(at("itm.pth"), same, sources), "it is read too, choose another name");
  }
  sources = {};
  sources.config = both / "config.json";
  sources.tokenizer = kRetrieval;
  EXPECT_USER_ERROR(lavis_to_folder(at("itm.pth"), both, sources), "config.json', which is read, lies in it");
  sources.config = kRetrieval / "config.json";
  sources.tokenizer = both;
  fs::copy(both, both / "tokenizer");
  EXPECT_USER_ERROR(lavis_to_folder(at("itm.pth"), both / "tokenizer", sources),
                    "it lies in '" + both.string() + "', which is read, choose another name");
  EXPECT_TRUE(fs::exists(both / "itm.pth"));
  EXPECT_TRUE(fs::exists(both / "vocab.txt"));
}

TEST_F(LavisMistakes, AnExistingFileIsNotReplaced) {
  std::ofstream(at("mine.pth")) << "mine";
  EXPECT_USER_ERROR(folder_to_lavis(kRetrieval, at("mine.pth")), "mine.pth': remove it first, or choose another name");
  EXPECT_EQ(bytes_of(at("mine.pth")), "mine");
  EXPECT_USER_ERROR(folder_to_lavis(kRetrieval, place_.path()), "is a folder: expected the name of a new .pth file");
  EXPECT_USER_ERROR(folder_to_lavis(kRetrieval, at("x.safetensors")), "expected a name that ends in .pth");
  EXPECT_USER_ERROR(folder_to_lavis(kRetrieval, at("mine.pth") / "x.pth"), "mine.pth' is a file, expected a folder");
  folder_to_lavis(kRetrieval, at("new") / "folder" / "x.pth");
  EXPECT_TRUE(fs::exists(at("new") / "folder" / "x.pth"));
}

TEST_F(LavisMistakes, AdaptersBesideFrozenPartsAreRefused) {
  folder_to_lavis(kOpt, at("model.pth"), /*with_frozen=*/false);
  LavisSources sources;
  sources.like = at("like");
  fs::copy(kOpt, at("like"));
  const auto expect_refused = [&](const fs::path& adapted) {
    std::ofstream(adapted / "adapter_config.json") << "{}";
    EXPECT_USER_ERROR(lavis_to_folder(at("model.pth"), at("back"), sources),
                      "'" + adapted.string() + "' holds an adapter, which LAVIS does not know");
    fs::remove(adapted / "adapter_config.json");
  };
  expect_refused(at("like"));
  sources.language_model = language_model();
  expect_refused(sources.language_model);
  sources.language_model.clear();
  sources.vision = at("run");
  fs::create_directory(at("run"));
  fs::copy(kOpt, at("run") / "checkpoint");
  expect_refused(at("run") / "checkpoint");
  EXPECT_GT(lavis_to_folder(at("model.pth"), at("back"), sources).from_sources, 50U);
}

TEST_F(LavisMistakes, WhatTheModelDoesNotHaveIsNotPassedOver) {
  folder_to_lavis(kRetrieval, at("itm.pth"));
  LavisSources sources;
  sources.like = kRetrieval;
  sources.language_model = language_model();
  EXPECT_USER_ERROR(lavis_to_folder(at("itm.pth"), at("back"), sources),
                    "is of stage 1 and has no language model: leave out '" + at("opt").string() + "'");
  sources = {};
  sources.tokenizer = kOpt;
  EXPECT_USER_ERROR(lavis_to_folder(vision_file(), at("back"), sources),
                    "is an image encoder alone and has no tokenizer: leave out '" + kOpt.string() + "'");
}

TEST_F(LavisMistakes, ADescriptionThatMakesNoSenseIsASentence) {
  folder_to_lavis(kOpt, at("model.pth"));
  json config = load_json(kOpt / "config.json");
  config["vision_config"]["patch_size"] = 0;
  std::ofstream(at("sizes.json")) << config;
  LavisSources sources;
  sources.tokenizer = kOpt;
  sources.config = at("sizes.json");
  EXPECT_USER_ERROR(lavis_to_folder(at("model.pth"), at("back"), sources),
                    "sizes.json': vision_config: image_size 56 must hold at least one patch of 0");
  sources.tokenizer.clear();
  EXPECT_USER_ERROR(lavis_to_folder(vision_file(), at("back"), sources),
                    "sizes.json': vision_config: image_size 56 must hold at least one patch of 0");
  config = load_json(kOpt / "config.json");
  config["qformer_config"]["max_position_embeddings"] = -1;
  fs::copy(kOpt, at("hostile"));
  std::ofstream(at("hostile") / "config.json") << config;
  EXPECT_USER_ERROR(folder_to_lavis(at("hostile"), at("new.pth")),
                    "config.json': qformer_config: max_position_embeddings -1 must lie between 1 and");
}

TEST_F(LavisMistakes, OnlyTheBlockThatPublishedEncodersHaveMoreIsLeftOut) {
  folder_to_lavis(kOpt, at("model.pth"));
  NamedTensors lavis = load_torch_state_dict(at("model.pth"));
  LavisSources sources;
  sources.like = kOpt;
  const std::string refusal =
      "has an image encoder of more blocks than the model: 'vision_model.encoder.layers.4.mlp.fc1.bias', expected 3 "
      "(num_hidden_layers) or one more";
  lavis["visual_encoder.blocks.3.mlp.fc1.bias"] = torch::zeros({101});
  save_torch_archive(lavis, at("model.pth"));
  lavis_to_folder(at("model.pth"), at("back"), sources);
  expect_same_tensors(at("back"), kOpt);
  lavis["visual_encoder.blocks.4.mlp.fc1.bias"] = torch::zeros({101});
  save_torch_archive(lavis, at("model.pth"));
  EXPECT_USER_ERROR(lavis_to_folder(at("model.pth"), at("back"), sources), "model.pth' " + refusal);

  fs::remove(at("model.pth"));
  folder_to_lavis(kOpt, at("model.pth"), /*with_frozen=*/false);
  sources.vision = vision_file();
  lavis = load_torch_state_dict(sources.vision);
  lavis["blocks.4.mlp.fc1.bias"] = torch::zeros({101});
  save_torch_archive(lavis, sources.vision, "");
  EXPECT_USER_ERROR(lavis_to_folder(at("model.pth"), at("back"), sources), "eva.pth' " + refusal);
}

TEST_F(LavisMistakes, ProcessorFilesThatAreNoObjectsAreSentences) {
  folder_to_lavis(kOpt, at("model.pth"));
  fs::copy(kOpt, at("like"));
  LavisSources sources;
  sources.like = at("like");
  const auto expect_refused = [&](const char* file, const char* text, const std::string& expected) {
    std::ofstream(at("like") / file) << text;
    EXPECT_USER_ERROR(lavis_to_folder(at("model.pth"), at("back"), sources), file + expected);
  };
  expect_refused("preprocessor_config.json", "[1]", "' must hold a JSON object, found array");
  expect_refused("processor_config.json", R"({"image_processor": 7})",
                 "': 'image_processor' must be an object, found number");
  expect_refused("processor_config.json", "null", "' must hold a JSON object, found null");
  sources.like = at(std::string(300, 'x'));
  EXPECT_WORLD_ERROR(lavis_to_folder(at("model.pth"), at("back"), sources), "File name too long");
}

/** A folder of an image encoder with one tensor [1, 1, 4] of that dtype, as the header of safetensors calls it. */
void write_encoder(const fs::path& folder, const std::string& dtype, std::size_t bytes) {
  fs::create_directory(folder);
  std::ofstream(folder / "config.json") << json{{"model_type", "blip_2_vision_model"}};
  const std::string header = json{{"vision_model.embeddings.class_embedding",
                                   {{"dtype", dtype}, {"shape", {1, 1, 4}}, {"data_offsets", {0, bytes}}}}}
                                 .dump();
  std::ofstream file(folder / "model.safetensors", std::ios::binary);
  for (int i = 0; i < 8; ++i) file.put(static_cast<char>(header.size() >> (8 * i) & 0xff));
  file << header << std::string(bytes, '\0');
}

TEST_F(LavisMistakes, DtypesThatTheFilesCannotHoldAreNamed) {
  for (const auto& [dtype, bytes, name] : {std::tuple("F8_E4M3", 4, "float8_e4m3fn"), std::tuple("U16", 8, "uint16"),
                                           std::tuple("C64", 32, "complex64")}) {
    const fs::path folder = at(name);
    write_encoder(folder, dtype, bytes);
    EXPECT_USER_ERROR(folder_to_lavis(folder, at("new.pth")), folder.string() +
                                                                  "' holds tensors of dtypes that cannot be converted: "
                                                                  "'vision_model.embeddings.class_embedding' is " +
                                                                  name);
    EXPECT_FALSE(fs::exists(at("new.pth")));
  }
  fs::create_directory(at("named"));
  fs::path file = at("named") / "tower.safetensors";
  write_encoder(at("tower"), "F8_E5M2", 4);
  fs::rename(at("tower") / "model.safetensors", file);
  LavisSources sources;
  sources.config = kOpt / "config.json";
  EXPECT_USER_ERROR(lavis_to_folder(file, at("back"), sources),
                    "tower.safetensors' holds tensors of dtypes that cannot be converted: "
                    "'vision_model.embeddings.class_embedding' is float8_e5m2");
}

TEST_F(LavisMistakes, AnEncoderWithMoreThanAnEncoderIsNoEncoderOfLavis) {
  fs::create_directory(at("more"));
  save_model_tensors(
      {{"vision_model.embeddings.class_embedding", torch::zeros({1, 1, 4})}, {"itm_head.bias", torch::zeros({2})}},
      at("more"));
  std::ofstream(at("more") / "config.json") << json{{"model_type", "blip_2_vision_model"}};
  EXPECT_USER_ERROR(folder_to_lavis(at("more"), at("new.pth")),
                    "more': 1 tensor has no counterpart in an image encoder of LAVIS: 'itm_head.bias'");
}

}  // namespace
}  // namespace blip2
