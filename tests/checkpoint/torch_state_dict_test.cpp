// The state dict in a torch.save file: bare or within what a training program saved around it.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "blip2/checkpoint/torch_archive.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "support/torch_file.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

std::string tensor_of(std::int64_t count) {
  return pickled_tensor(pickled_storage("0", 4), 0, {count}, {1});
}

fs::path write(const TemporaryFolder& folder, const std::string& value) {
  return write_file(folder.path() / "written.pth", zip_bytes(torch_records(value, {{"0", std::string(16, '\0')}})));
}

TEST(TorchStateDict, IsFoundBareAndUnderTheUsualKeys) {
  const TemporaryFolder folder;
  const std::string weights = pickled_dict({{"b.weight", tensor_of(2)}, {"a", tensor_of(3)}});
  const TorchStateDict bare(write(folder, weights));
  EXPECT_EQ(bare.section(), "");
  ASSERT_EQ(bare.tensors().size(), 2U);
  EXPECT_EQ(bare.tensors()[0].name, "a");  // in order of name
  EXPECT_EQ(bare.info("b.weight").shape, std::vector<std::int64_t>{2});
  EXPECT_EQ(bare.info("b.weight").end - bare.info("b.weight").begin, 8U);
  EXPECT_TRUE(bare.contains("a"));
  EXPECT_USER_ERROR(bare.read("c"), "written.pth': holds no tensor 'c'");
  for (const std::string section : {"model", "state_dict", "module"}) {
    const TorchStateDict inner(
        write(folder, pickled_dict({{"epoch", pickled(3)}, {"optimizer", pickled_dict({})}, {section, weights}})));
    EXPECT_EQ(inner.section(), section);
    EXPECT_EQ(inner.tensors().size(), 2U);
    EXPECT_EQ(inner.read("a").sizes(), (std::vector<std::int64_t>{3}));
  }
  // A parameter may be called "model".
  EXPECT_EQ(load_torch_state_dict(write(folder, pickled_dict({{"model", tensor_of(1)}}))).count("model"), 1U);
}

TEST(TorchStateDict, AnythingElseIsRefusedByName) {
  const TemporaryFolder folder;
  const auto refused = [&](const std::string& value, const std::string& sentence) {
    EXPECT_USER_ERROR(TorchStateDict(write(folder, value)), sentence);
  };
  const std::string rule =
      "expected a state dict of named tensors (outermost or under 'model', 'state_dict' or 'module')";
  refused("]", "expected a state dict, found a list");
  refused(tensor_of(1), "expected a state dict, found a tensor");
  refused(pickled_dict({{"a", tensor_of(1)}, {"epoch", pickled(3)}}), rule + ", found an integer under 'epoch'");
  refused(pickled_dict({{"weights", pickled_dict({{"a", tensor_of(1)}})}}), rule + ", found a dict under 'weights'");
  refused("}(K\5" + tensor_of(1) + "u", rule + ", found a tensor under '5'");
}

TEST(TorchStateDict, ASmallFileCannotFillTheMemory) {
  const TemporaryFolder folder;
  std::vector<std::pair<std::string, std::string>> entries;
  const std::string whole = pickled_tensor(pickled_storage("0", 1 << 18), 0, {1 << 18}, {1});
  for (int i = 0; i < 40; ++i) entries.emplace_back(std::to_string(i), whole);
  const auto write_first = [&](std::ptrdiff_t count) {
    return write_file(folder.path() / "many.pth",
                      zip_bytes(torch_records(pickled_dict({entries.begin(), entries.begin() + count}),
                                              {{"0", std::string(std::size_t{4} << 18, '\1')}})));
  };
  EXPECT_EQ(TorchStateDict(write_first(30)).tensors().size(), 30U);
  EXPECT_USER_ERROR(TorchStateDict(write_first(40)),
                    "its tensors would fill 41943040 bytes, more than 16 times the file");
}

TEST(TorchStateDict, CheckpointsOfLavisEqualTheirSafetensors) {
  const fs::path folder = fs::path(BLIP2_SHARED_DATA) / "fixtures/lavis";
  if (!fs::exists(folder)) GTEST_SKIP() << "no reference set beside the checkout";
  const NamedTensors tensors = load_torch_state_dict(folder / "stage1_model/model.pth");
  const NamedTensors expected = load_safetensors(folder / "stage1_model/model.safetensors");
  ASSERT_EQ(tensors.size(), expected.size());
  for (const auto& [name, tensor] : expected) EXPECT_TRUE(torch::equal(tensors.at(name), tensor)) << name;

  const fs::path run = folder / "stage1_train/checkpoint_runner_step6.pth";
  EXPECT_EQ(TorchStateDict(run).section(), "model");
  const TorchArchive archive(run);
  EXPECT_EQ(archive.content().find("epoch")->kind, TorchValue::Kind::kInteger);
  EXPECT_EQ(archive.content().find("scaler")->kind, TorchValue::Kind::kNone);
  EXPECT_EQ(archive.content().find("config")->find("model")->find("arch")->text, "blip2");
  EXPECT_NE(archive.content().find("optimizer")->find("state"), nullptr);
}

}  // namespace
}  // namespace blip2
