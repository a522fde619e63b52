// Folders to LAVIS checkpoints and back: nothing may change on the way, and what LAVIS leaves out comes from elsewhere.
#include "blip2/models/lavis_checkpoint.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <fstream>

#include "blip2/checkpoint/hugging_face.h"
#include "blip2/checkpoint/torch_writer.h"
#include "blip2/core/config.h"
#include "blip2/models/published_folder.h"
#include "support/expect_error.h"
#include "support/reference.h"
#include "support/temporary_folder.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const fs::path kOpt = test_data("cases/opt_sharded_bf16/model"), kRetrieval = test_data("cases/itm_tiny/model"),
               kStage1 = test_data("models/stage1_model");

class LavisCheckpoint : public testing::Test {
 protected:
  fs::path at(const std::string& name) const { return place_.path() / name; }

  static std::string bytes_of(const fs::path& path) {
    std::ifstream stream(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
  }

  static void expect_same_tensors(const fs::path& actual, const fs::path& expected) {
    const NamedTensors a = load_model_tensors(actual), b = load_model_tensors(expected);
    EXPECT_EQ(a.size(), b.size());
    for (const auto& [name, tensor] : b) {
      ASSERT_EQ(a.count(name), 1U) << name;
      EXPECT_EQ(a.at(name).scalar_type(), tensor.scalar_type()) << name;
      EXPECT_TRUE(torch::equal(a.at(name), tensor)) << name;
    }
  }

  /** The language model of the OPT case as a folder of its own, that ends at `</s>`. */
  fs::path language_model() const {
    const fs::path folder = at("opt");
    fs::create_directory(folder);
    NamedTensors tensors;
    const std::string prefix = "language_model.";
    for (const auto& [name, tensor] : load_model_tensors(kOpt)) {
      if (name.rfind(prefix, 0) == 0) tensors.emplace(name.substr(prefix.size()), tensor);
    }
    save_model_tensors(tensors, folder);
    json config = load_json(kOpt / "config.json").at("text_config");
    config["eos_token_id"] = 2;
    std::ofstream(folder / "config.json") << config;
    for (const char* file : {"tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"}) {
      fs::copy(kOpt / file, folder);
    }
    return folder;
  }

  /** The image encoder of the OPT case as LAVIS publishes them: bare, with a block and a head that are not used. */
  fs::path vision_file() const {
    NamedTensors tensors;
    for (const auto& [name, tensor] : load_model_tensors(kOpt)) {
      if (name.rfind("vision_model.", 0) == 0) tensors.emplace(name, tensor);
    }
    const fs::path folder = at("vision_hf"), file = at("eva.pth");
    fs::create_directory(folder);
    save_model_tensors(tensors, folder);
    std::ofstream(folder / "config.json") << json{{"model_type", "blip_2_vision_model"}};
    folder_to_lavis(folder, file);
    NamedTensors lavis = load_torch_state_dict(file);
    EXPECT_EQ(TorchStateDict(file).section(), "");
    for (const auto& [name, tensor] : NamedTensors(lavis)) {
      if (name.rfind("blocks.2.", 0) == 0) lavis["blocks.3." + name.substr(9)] = tensor;
    }
    lavis["norm.weight"] = lavis["norm.bias"] = torch::ones({48});
    save_torch_archive(lavis, file, "");
    return file;
  }

  TemporaryFolder place_;
};

TEST_F(LavisCheckpoint, AWholeFolderGoesThereAndBackToTheBit) {
  for (const fs::path& model : {kOpt, kRetrieval}) {
    SCOPED_TRACE(model);
    const LavisConversion there = folder_to_lavis(model, at("model.pth"));
    EXPECT_GT(there.tensors, 100U);
    LavisSources sources;
    sources.config = model / "config.json";
    sources.tokenizer = model;
    EXPECT_EQ(lavis_to_folder(at("model.pth"), at("back"), sources).from_sources, 0U);
    expect_same_tensors(at("back"), model);
    folder_to_lavis(at("back"), at("again.pth"));
    EXPECT_EQ(bytes_of(at("again.pth")), bytes_of(at("model.pth")));
  }
}

TEST_F(LavisCheckpoint, FrozenPartsComeFromAFolderLikeTheResult) {
  const LavisConversion there = folder_to_lavis(kOpt, at("model.pth"), /*with_frozen=*/false);
  const TorchStateDict trained(at("model.pth"));
  for (const auto& entry : trained.tensors()) {
    EXPECT_NE(entry.name.rfind("visual_encoder.", 0), 0U) << entry.name;
    EXPECT_NE(entry.name.rfind("opt_model.", 0), 0U) << entry.name;
  }
  LavisSources sources;
  sources.like = kOpt;
  const LavisConversion back = lavis_to_folder(at("model.pth"), at("back"), sources);
  EXPECT_GT(back.from_sources, 50U);
  EXPECT_EQ(back.tensors, back.from_sources + there.tensors - 1);  // position ids are made anew each time
  expect_same_tensors(at("back"), kOpt);
  EXPECT_EQ(load_json(at("back") / "config.json"), load_json(kOpt / "config.json"));
  const GeneratorModel generator = load_generator_model(at("back"));
  EXPECT_EQ(generator.transform.mean, load_generator_model(kOpt).transform.mean);
  EXPECT_EQ(generator.tokenizer->encode("a small bus"), load_generator_model(kOpt).tokenizer->encode("a small bus"));
}

TEST_F(LavisCheckpoint, FrozenPartsComeFromTheirOwnPublishers) {
  folder_to_lavis(kOpt, at("model.pth"), /*with_frozen=*/false);
  json config = load_json(kOpt / "config.json");
  for (const char* key : {"text_config", "architectures", "model_type", "image_token_index"}) config.erase(key);
  std::ofstream(at("config.json")) << config;
  LavisSources sources;
  sources.config = at("config.json");
  sources.vision = vision_file();
  sources.language_model = language_model();
  lavis_to_folder(at("model.pth"), at("back"), sources);
  expect_same_tensors(at("back"), kOpt);
  const GeneratorModel generator = load_generator_model(at("back"));
  const auto newline = generator.tokenizer->encode("\n", /*add_special_tokens=*/false);
  EXPECT_EQ(generator.model->options().text_config.opt.eos_token_id, newline.back());
  EXPECT_EQ(load_json(at("back") / "preprocessor_config.json").at("size").at("height"), 56);
}

TEST_F(LavisCheckpoint, Stage1KeepsItsHeads) {
  folder_to_lavis(kStage1, at("model.pth"));
  LavisSources sources;
  sources.config = kStage1 / "config.json";
  sources.tokenizer = kRetrieval;
  lavis_to_folder(at("model.pth"), at("back"), sources);
  const NamedTensors heads = load_safetensors(at("back") / "stage1_heads.safetensors");
  const NamedTensors given = load_model_tensors(kStage1);
  EXPECT_EQ(heads.size(), 6U);
  for (const auto& [name, tensor] : heads) EXPECT_TRUE(torch::equal(tensor, given.at(name))) << name;
  EXPECT_EQ(load_model_tensors(at("back")).size() + heads.size(), given.size());
  folder_to_lavis(at("back"), at("again.pth"));
  EXPECT_EQ(bytes_of(at("again.pth")), bytes_of(at("model.pth")));
  EXPECT_TRUE(is_retrieval_model(at("back")));
}

TEST_F(LavisCheckpoint, AnImageEncoderAloneBecomesAFolderThatTrainingStartsFrom) {
  LavisSources sources;
  sources.config = kOpt / "config.json";
  lavis_to_folder(vision_file(), at("tower"), sources);
  const VisionOptions options = published_options(load_json(kOpt / "config.json"), kOpt).vision_config;
  const auto tower = make_vision_encoder(options);
  load_vision_tower(*tower, at("tower"));
  const NamedTensors expected = load_model_tensors(kOpt);
  for (const auto& item : tower->named_parameters()) {
    if (item.key().rfind("post_layernorm", 0) == 0) continue;
    EXPECT_TRUE(torch::equal(item.value(), expected.at("vision_model." + item.key()).to(at::kFloat))) << item.key();
  }
  EXPECT_EQ(load_model_tensors(at("tower")).count("vision_model.encoder.layers.3.mlp.fc1.bias"), 0U);
  EXPECT_EQ(load_json(at("tower") / "config.json").at("num_hidden_layers"), 3);
}

TEST_F(LavisCheckpoint, PicturesOfAnotherSizeAreFollowed) {
  folder_to_lavis(kOpt, at("model.pth"));
  NamedTensors lavis = load_torch_state_dict(at("model.pth"));
  lavis["visual_encoder.pos_embed"] = torch::rand({1, 26, 48});
  save_torch_archive(lavis, at("model.pth"));
  LavisSources sources;
  sources.like = kOpt;
  lavis_to_folder(at("model.pth"), at("back"), sources);
  EXPECT_EQ(load_generator_model(at("back")).model->options().vision_config.image_size, 70);
}

TEST_F(LavisCheckpoint, NamesEverythingThatIsMissingAndWritesNothing) {
  folder_to_lavis(kOpt, at("model.pth"), /*with_frozen=*/false);
  NamedTensors lavis = load_torch_state_dict(at("model.pth"));
  lavis.erase("query_tokens");
  lavis["opt_proj.weight"] = torch::zeros({3, 3});
  save_torch_archive(lavis, at("model.pth"));
  LavisSources sources;
  EXPECT_USER_ERROR(lavis_to_folder(at("model.pth"), at("back"), sources), "expected a folder with the tokenizer");
  sources.tokenizer = kOpt;
  EXPECT_USER_ERROR(lavis_to_folder(at("model.pth"), at("back"), sources),
                    "the checkpoint is of stage 2: expected its language model's folder, or a folder like it");
  sources.language_model = language_model();
  sources.config = kOpt / "config.json";
  EXPECT_USER_ERROR(lavis_to_folder(at("model.pth"), at("back"), sources),
                    "'language_projection.weight' has shape [3, 3] where the model has [40, 32], 'query_tokens' is "
                    "missing, 'vision_model.embeddings.class_embedding' is missing");
  sources.like = kRetrieval;
  sources.config.clear();
  EXPECT_USER_ERROR(lavis_to_folder(at("model.pth"), at("back"), sources),
                    "the checkpoint is of stage 2, but '" + kRetrieval.string() + "' holds a model of stage 1");
  EXPECT_FALSE(fs::exists(at("back")));
}

TEST_F(LavisCheckpoint, WithoutAConfigThePublishedSizesCount) {
  folder_to_lavis(kStage1, at("model.pth"));
  LavisSources sources;
  sources.tokenizer = kRetrieval;
  EXPECT_USER_ERROR(lavis_to_folder(at("model.pth"), at("back"), sources),
                    "'query_tokens' has shape [1, 8, 36] where the model has [1, 32, 768]");
  folder_to_lavis(kOpt, at("model.pth"), /*with_frozen=*/false);
  sources.language_model = language_model();
  EXPECT_USER_ERROR(lavis_to_folder(at("model.pth"), at("back"), sources),
                    "'language_projection.weight' has shape [40, 32] where the model has [40, 768]");
}

TEST_F(LavisCheckpoint, RefusesFoldersThatAreNoPublishedModels) {
  fs::create_directory(at("run"));
  std::ofstream(at("run") / "config.json") << R"({"model": {}})";
  EXPECT_USER_ERROR(folder_to_lavis(at("run"), at("model.pth")),
                    "is a run of our trainers: export it as a Hugging Face folder first");
  fs::copy(kRetrieval, at("adapted"));
  std::ofstream(at("adapted") / "adapter_config.json") << "{}";
  EXPECT_USER_ERROR(folder_to_lavis(at("adapted"), at("model.pth")), "holds an adapter, which LAVIS does not know");
}

}  // namespace
}  // namespace blip2
