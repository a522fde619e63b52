// Files that are written as torch.save does: read back to the bit, stored once where memory is shared, and with the
// pickle that Python's own reader was asked about (scripts/check_torch_file.py).
#include "blip2/checkpoint/torch_writer.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <fstream>

#include "blip2/checkpoint/torch_archive.h"
#include "checkpoint/zip_directory.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

std::string bytes_of(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/** One of everything. */
NamedTensors samples() {
  NamedTensors tensors;
  int next = 0;
  for (const auto dtype : {at::kFloat, at::kHalf, at::kBFloat16, at::kDouble, at::kLong, at::kInt, at::kShort,
                           at::kChar, at::kByte, at::kBool}) {
    tensors[std::string("of.") + c10::toString(dtype)] = (torch::arange(6).view({2, 3}) + next++).to(dtype);
  }
  tensors["scalar"] = torch::tensor(0.07F);
  tensors["empty"] = torch::zeros({0, 3});
  tensors["turned"] = torch::arange(12, torch::kFloat).view({3, 4}).t();
  tensors["part"] = torch::arange(12, torch::kFloat).slice(0, 1, 9, 2);
  tensors["name with \"quotes\" and \xc3\xa4"] = torch::ones({1});
  return tensors;
}

TEST(SaveTorchArchive, EveryDtypeComesBackToTheBit) {
  const TemporaryFolder folder;
  for (const std::string section : {"model", ""}) {
    const fs::path file = folder.path() / "file.pth";
    save_torch_archive(samples(), file, section);
    const TorchStateDict dict(file);
    EXPECT_EQ(dict.section(), section);
    ASSERT_EQ(dict.tensors().size(), samples().size());
    for (const auto& [name, tensor] : samples()) {
      EXPECT_EQ(dict.read(name).scalar_type(), tensor.scalar_type()) << name;
      EXPECT_TRUE(torch::equal(dict.read(name), tensor)) << name;
    }
  }
}

TEST(SaveTorchArchive, SharedMemoryIsStoredOnceAndStorageIsAligned) {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "file.pth";
  const at::Tensor words = torch::rand({50, 40});
  save_torch_archive({{"decoder", words}, {"words", words}, {"view", words.view({40, 50})}}, file);
  EXPECT_LT(fs::file_size(file), words.nbytes() + 4000);
  const TorchArchive archive(file);
  ASSERT_TRUE(archive.is_zip());
  for (const TorchTensor& tensor : archive.tensors()) EXPECT_EQ(tensor.begin % 64, 0U);
}

TEST(SaveTorchArchive, TheSameTensorsGiveTheSameBytes) {
  const TemporaryFolder folder;
  save_torch_archive(samples(), folder.path() / "a.pth");
  save_torch_archive(samples(), folder.path() / "b.pth");
  EXPECT_EQ(bytes_of(folder.path() / "a.pth"), bytes_of(folder.path() / "b.pth"));
}

/** The bytes of the pickle in a file. */
std::string pickle_in(const fs::path& path) {
  const ReadOnlyFile file(path);
  const FileRange range = ZipDirectory(file).find("data.pkl");
  std::string bytes(range.size, '\0');
  file.read(range.begin, bytes.data(), bytes.size());
  return bytes;
}

TEST(SaveTorchArchive, ThePickleIsTheOneThatPythonHasRead) {
  const TemporaryFolder folder;
  save_torch_archive(samples(), folder.path() / "file.pth");
  const fs::path read_by_python = fs::path(BLIP2_TEST_DATA) / "checkpoint" / "written.pth";
  EXPECT_EQ(pickle_in(folder.path() / "file.pth"), pickle_in(read_by_python));
  const TorchStateDict dict(read_by_python);
  for (const auto& [name, tensor] : samples()) EXPECT_TRUE(torch::equal(dict.read(name), tensor)) << name;
}

TEST(SaveTorchArchive, RefusesWhatTheFormatCannotHoldAndLeavesTheOldFile) {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "file.pth";
  std::ofstream(file) << "old";
  EXPECT_USER_ERROR((save_torch_archive({{"\xff", torch::ones({1})}}, file), 0), "is not valid UTF-8");
  EXPECT_THROW(save_torch_archive({{"c", torch::ones({1}, torch::kComplexFloat)}}, file), c10::Error);
  EXPECT_EQ(bytes_of(file), "old");
  EXPECT_WORLD_ERROR((save_torch_archive(samples(), folder.path() / "none" / "file.pth"), 0), "cannot write '");
  EXPECT_WORLD_ERROR((save_torch_archive({{"a", torch::zeros({1 << 16})}}, "/dev/full"), 0),
                     "cannot write '/dev/full': ");
}

}  // namespace
}  // namespace blip2
