// Small models and what of them LAVIS and others keep in files of their own.
#pragma once

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "blip2/checkpoint/hugging_face.h"
#include "blip2/checkpoint/torch_writer.h"
#include "blip2/core/config.h"
#include "blip2/models/lavis_checkpoint.h"
#include "support/reference.h"
#include "support/temporary_folder.h"

namespace blip2 {

namespace fs = std::filesystem;

inline const fs::path kOpt = test_data("cases/opt_sharded_bf16/model"), kRetrieval = test_data("cases/itm_tiny/model"),
                      kStage1 = test_data("models/stage1_model");

class LavisFolders : public testing::Test {
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
      if (name.starts_with(prefix)) tensors.emplace(name.substr(prefix.size()), tensor);
    }
    save_model_tensors(tensors, folder);
    nlohmann::json config = load_json(kOpt / "config.json").at("text_config");
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
      if (name.starts_with("vision_model.")) tensors.emplace(name, tensor);
    }
    const fs::path folder = at("vision_hf"), file = at("eva.pth");
    fs::create_directory(folder);
    save_model_tensors(tensors, folder);
    std::ofstream(folder / "config.json") << nlohmann::json{{"model_type", "blip_2_vision_model"}};
    folder_to_lavis(folder, file);
    NamedTensors lavis = load_torch_state_dict(file);
    EXPECT_EQ(TorchStateDict(file).section(), "");
    for (const auto& [name, tensor] : NamedTensors(lavis)) {
      if (name.starts_with("blocks.2.")) lavis["blocks.3." + name.substr(9)] = tensor;
    }
    lavis["norm.weight"] = lavis["norm.bias"] = torch::ones({48});
    save_torch_archive(lavis, file, "");
    return file;
  }

  TemporaryFolder place_;
};

}  // namespace blip2
