// Model folders: found, sharded, incomplete, hostile.
#include "blip2/checkpoint/hugging_face.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <fstream>

#include "blip2/core/atomic_file.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

NamedTensors three_tensors() {
  return {{"a", torch::full({4}, 1.0)}, {"b", torch::full({8}, 2.0)}, {"c", torch::full({2}, 3.0)}};
}

void expect_equal(const NamedTensors& found, const NamedTensors& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (const auto& [name, tensor] : expected) EXPECT_TRUE(torch::equal(found.at(name), tensor)) << name;
}

void write_index(const TemporaryFolder& folder, const nlohmann::json& weight_map) {
  write_file_atomically(folder.path() / "model.safetensors.index.json",
                        nlohmann::json{{"metadata", {{"total_size", 0}}}, {"weight_map", weight_map}}.dump());
}

TEST(ModelConfig, IsReadOrNamed) {
  const TemporaryFolder folder;
  const std::string name = folder.path().string();
  EXPECT_USER_ERROR(load_model_config(folder.path() / "none"), "none': it does not exist");
  EXPECT_USER_ERROR(load_model_config(folder.path()), "'" + name + "' holds no config.json: expected the folder of a");
  write_file_atomically(folder.path() / "config.json", "[]");
  EXPECT_USER_ERROR(load_model_config(folder.path()), "config.json' must hold a JSON object, found array");
  EXPECT_USER_ERROR(load_model_config(folder.path() / "config.json"), "config.json': it is not a folder");
  write_file_atomically(folder.path() / "config.json", R"({"model_type": "blip-2"})");
  EXPECT_EQ(load_model_config(folder.path())["model_type"], "blip-2");
}

TEST(ModelConfig, FolderWhoseWriterDiedBetweenRenamesIsFoundUnderItsOldName) {
  const TemporaryFolder parent;
  fs::create_directory(parent.path() / "model.previous");
  write_file_atomically(parent.path() / "model.previous" / "config.json", "{}");
  save_model_tensors(three_tensors(), parent.path() / "model.previous");
  EXPECT_TRUE(load_model_config(parent.path() / "model").empty());
  expect_equal(load_model_tensors(parent.path() / "model"), three_tensors());
}

TEST(ModelTensors, SingleFileAndShardsGiveTheSameTensors) {
  const TemporaryFolder single, sharded;
  save_model_tensors(three_tensors(), single.path());
  EXPECT_TRUE(fs::exists(single.path() / "model.safetensors"));
  expect_equal(load_model_tensors(single.path()), three_tensors());

  save_model_tensors(three_tensors(), sharded.path(), 24);  // 16, 32 and 8 bytes: b exceeds the limit alone
  EXPECT_FALSE(fs::exists(sharded.path() / "model.safetensors"));
  EXPECT_TRUE(fs::exists(sharded.path() / "model-00003-of-00003.safetensors"));
  std::ifstream stream(sharded.path() / "model.safetensors.index.json");
  EXPECT_EQ(nlohmann::json::parse(stream), nlohmann::json::parse(R"({"metadata": {"total_size": 56}, "weight_map": {
    "a": "model-00001-of-00003.safetensors", "b": "model-00002-of-00003.safetensors",
    "c": "model-00003-of-00003.safetensors"}})"));
  const ModelTensors tensors(sharded.path());
  EXPECT_EQ(tensors.names(), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(tensors.info("b").shape, std::vector<std::int64_t>{8});
  EXPECT_TRUE(tensors.contains("c"));
  EXPECT_USER_ERROR(tensors.read("d"), "holds no tensor 'd'");
  expect_equal(load_model_tensors(sharded.path()), three_tensors());
}

TEST(ModelTensors, FirstValuesAreReadAloneFromEveryFormat) {
  const TemporaryFolder folder;
  const auto table = torch::arange(12, at::kFloat).view({3, 4}).to(at::kHalf);
  const auto check = [&](const std::string& name) {
    const ModelTensors tensors(folder.path());
    EXPECT_TRUE(torch::equal(tensors.read_first(name, 5), tensors.read(name).reshape({-1}).slice(0, 0, 5)));
    EXPECT_TRUE(torch::equal(tensors.read_first(name, 100), tensors.read(name).reshape({-1})));
    EXPECT_USER_ERROR(tensors.read_first("no", 1), "holds no tensor 'no'");
  };
  fs::copy_file(fs::path(BLIP2_TEST_DATA) / "checkpoint/torch_bad/ok_zip.bin", folder.path() / "pytorch_model.bin");
  check("w");
  save_safetensors({{"a", torch::ones({3})}, {"table", table}, {"z", torch::empty({0})}},
                   folder.path() / "model.safetensors");
  check("table");
  EXPECT_EQ(ModelTensors(folder.path()).read_first("z", 5).numel(), 0);
}

TEST(ModelTensors, FolderWithoutWeightsNamesWhatWasLookedFor) {
  const TemporaryFolder folder;
  EXPECT_USER_ERROR(load_model_tensors(folder.path()),
                    "holds none of model.safetensors, model.safetensors.index.json, pytorch_model.bin and "
                    "pytorch_model.bin.index.json");
}

TEST(ModelTensors, TheFirstOfFourIsRead) {
  const fs::path reference = fs::path(BLIP2_TEST_DATA) / "checkpoint/torch_bad";
  const TemporaryFolder folder;
  const auto index = [&](const std::string& name, const nlohmann::json& weight_map) {
    write_file_atomically(folder.path() / name, nlohmann::json{{"weight_map", weight_map}}.dump());
  };
  fs::copy_file(reference / "ok_half_and_parameter.bin", folder.path() / "pytorch_model-00001-of-00002.bin");
  fs::copy_file(reference / "ok_legacy.bin", folder.path() / "pytorch_model-00002-of-00002.bin");
  index("pytorch_model.bin.index.json", {{"h", "pytorch_model-00001-of-00002.bin"},
                                         {"b", "pytorch_model-00001-of-00002.bin"},
                                         {"w", "pytorch_model-00002-of-00002.bin"}});
  const ModelTensors shards(folder.path());
  EXPECT_EQ(shards.names(), (std::vector<std::string>{"b", "h", "w"}));
  EXPECT_EQ(shards.file_of("w"), "pytorch_model-00002-of-00002.bin");
  EXPECT_EQ(shards.info("h").dtype, at::kHalf);
  EXPECT_EQ(shards.info("w").shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_TRUE(torch::equal(shards.read("h"), torch::tensor({0.6064453125, -1.04296875, -0.58984375}).to(at::kHalf)));
  EXPECT_TRUE(torch::equal(shards.read("b"), torch::tensor({-0.73046875, -2.640625, 0.62890625}).to(at::kBFloat16)));
  EXPECT_EQ(shards.read("w")[0][0].item<float>(), 2.2559444904327393F);

  fs::copy_file(reference / "ok_zip.bin", folder.path() / "pytorch_model.bin");
  EXPECT_EQ(load_model_tensors(folder.path()).at("w")[0][0].item<float>(), -1.0615326166152954F);
  save_safetensors({{"a", torch::ones({1})}}, folder.path() / "shard.safetensors");
  index("model.safetensors.index.json", {{"a", "shard.safetensors"}});
  EXPECT_EQ(ModelTensors(folder.path()).file_of("a"), "shard.safetensors");
  save_safetensors({{"b", torch::ones({1})}}, folder.path() / "model.safetensors");
  EXPECT_EQ(ModelTensors(folder.path()).names(), std::vector<std::string>{"b"});
}

TEST(ModelTensors, PickledShardsAreCheckedAsOthersAre) {
  const fs::path reference = fs::path(BLIP2_TEST_DATA) / "checkpoint/torch_bad";
  const TemporaryFolder folder;
  const auto read_with = [&](const nlohmann::json& weight_map) {
    write_file_atomically(folder.path() / "pytorch_model.bin.index.json",
                          nlohmann::json{{"weight_map", weight_map}}.dump());
    return load_model_tensors(folder.path());
  };
  fs::copy_file(reference / "ok_zip.bin", folder.path() / "one.bin");
  fs::copy_file(reference / "pickle_os_system.bin", folder.path() / "evil.bin");
  EXPECT_EQ(read_with({{"w", "one.bin"}}).size(), 1U);
  EXPECT_USER_ERROR(read_with({{"v", "one.bin"}}), "tensor 'v' is not in the shard 'one.bin'");
  EXPECT_USER_ERROR(read_with({{"w", "two.bin"}}), "the shard 'two.bin' is missing from the folder");
  EXPECT_USER_ERROR(read_with({{"w", "../one.bin"}}), "must be a plain file name");
  EXPECT_USER_ERROR(read_with({{"w", "evil.bin"}}), "evil.bin': its pickle names 'os.system'");
}

TEST(ModelTensors, LegacyFolderOfTheReferenceSetIsComplete) {
  const fs::path folder = fs::path(BLIP2_SHARED_DATA) / "fixtures/huggingface/opt_legacy/model";
  if (!fs::exists(folder)) GTEST_SKIP() << "no reference set beside the checkout";
  const ModelTensors tensors(folder);
  std::ifstream stream(folder / "pytorch_model.bin.index.json");
  const auto index = nlohmann::json::parse(stream);
  EXPECT_EQ(tensors.names().size(), index["weight_map"].size());
  std::uint64_t bytes = 0;
  for (const auto& name : tensors.names()) {
    const at::Tensor tensor = tensors.read(name);
    EXPECT_EQ(tensors.file_of(name), index["weight_map"][name]);
    EXPECT_TRUE(at::isfinite(tensor).all().item<bool>()) << name;
    EXPECT_EQ(tensor.scalar_type(), name.ends_with("position_ids") ? at::kLong : at::kHalf) << name;
    bytes += tensor.nbytes();
  }
  // The duplicate head lies in another shard.
  const at::Tensor head = tensors.read("language_model.lm_head.weight");
  EXPECT_TRUE(torch::equal(head, tensors.read("language_model.model.decoder.embed_tokens.weight")));
  EXPECT_EQ(bytes, index["metadata"]["total_size"].get<std::uint64_t>());
}

TEST(ModelTensors, IncompleteShardsAreNamed) {
  const TemporaryFolder folder;
  save_safetensors({{"a", torch::ones({1})}, {"extra", torch::ones({1})}}, folder.path() / "one.safetensors");
  write_index(folder, {{"a", "one.safetensors"}});
  EXPECT_EQ(ModelTensors(folder.path()).names(), std::vector<std::string>{"a"});
  write_index(folder, {{"a", "one.safetensors"}, {"b", "one.safetensors"}});
  EXPECT_USER_ERROR(load_model_tensors(folder.path()), "tensor 'b' is not in the shard 'one.safetensors'");
  write_index(folder, {{"a", "one.safetensors"}, {"b", "two.safetensors"}});
  EXPECT_USER_ERROR(load_model_tensors(folder.path()), "the shard 'two.safetensors' is missing from the folder");
}

TEST(ModelTensors, IndexCannotLeaveTheFolder) {
  const TemporaryFolder folder;
  save_safetensors({{"a", torch::ones({1})}}, folder.path() / "outside.safetensors");
  fs::create_directory(folder.path() / "inside");
  const auto read_with = [&](const nlohmann::json& file) {
    write_file_atomically(folder.path() / "inside" / "model.safetensors.index.json",
                          nlohmann::json{{"weight_map", {{"a", file}}}}.dump());
    return load_model_tensors(folder.path() / "inside");
  };
  const std::string absolute = (folder.path() / "outside.safetensors").string();
  for (const std::string& name : {std::string("../outside.safetensors"), absolute, std::string(".."), std::string(),
                                  std::string("..\\x"), std::string("a\0b", 3)}) {
    EXPECT_USER_ERROR(read_with(name), "the file of tensor 'a' must be a plain file name, found '");
  }
  EXPECT_USER_ERROR(read_with(3), "must be a plain file name, found 'number'");
}

TEST(ModelTensors, DamagedIndexIsRefused) {
  const TemporaryFolder folder;
  for (const char* text : {"{}", "[]", R"({"weight_map": []})", "3"}) {
    write_file_atomically(folder.path() / "model.safetensors.index.json", text);
    EXPECT_USER_ERROR(load_model_tensors(folder.path()), "'weight_map' must be an object that maps tensors to files");
  }
}

}  // namespace
}  // namespace blip2
