// What inspection says of each kind of file, as text and as JSON.
#include "blip2/checkpoint/inspection.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "support/torch_file.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const fs::path kReference = fs::path(BLIP2_TEST_DATA) / "checkpoint";

std::string text_of(const fs::path& path) {
  return inspection_text(inspect_weights(path));
}

TEST(Inspection, NestedFileShowsItsStructure) {
  EXPECT_EQ(text_of(kReference / "torch_bad/ok_nested.bin"),
            "model  dict of 2\n"
            "  w  float32 [2, 3]\n"
            "  b  int64 [3]\n"
            "epoch  3\n"
            "lr  0.1\n"
            "name  \"x\"\n"
            "PyTorch: 2 tensors, 9 parameters, 48 bytes\n");
  EXPECT_EQ(inspection_json(inspect_weights(kReference / "torch_bad/ok_nested.bin")), json::parse(R"({
    "format": "PyTorch", "metadata": {}, "tensors": 2, "parameters": 9, "bytes": 48, "entries": [
      {"name": "model", "container": "dict", "entries": [
        {"name": "w", "dtype": "float32", "shape": [2, 3], "bytes": 24},
        {"name": "b", "dtype": "int64", "shape": [3], "bytes": 24}]},
      {"name": "epoch", "value": 3}, {"name": "lr", "value": 0.1}, {"name": "name", "value": "x"}]})"));
}

TEST(Inspection, EveryFormatIsKnownByItsFirstBytes) {
  const TemporaryFolder folder;
  const auto renamed = [&](const std::string& file) {
    const fs::path path = folder.path() / "weights.anything";
    fs::copy_file(kReference / file, path, fs::copy_options::overwrite_existing);
    return inspect_weights(path).format;
  };
  EXPECT_EQ(renamed("torch_bad/ok_zip.bin"), "PyTorch");
  EXPECT_EQ(renamed("torch_bad/ok_legacy.bin"), "PyTorch before 1.6");
  EXPECT_EQ(renamed("safetensors_bad/ok_plain.safetensors"), "safetensors");
  EXPECT_EQ(text_of(kReference / "torch_bad/ok_half_and_parameter.bin"),
            "h  float16 [3]\nb  bfloat16 [3]\np  float32 [2]\nPyTorch: 3 tensors, 8 parameters, 20 bytes\n");
  EXPECT_EQ(text_of(kReference / "safetensors_bad/ok_metadata.safetensors"),
            "a  float32 [2]\nmetadata format: pt\nsafetensors: 1 tensor, 2 parameters, 8 bytes\n");
  EXPECT_USER_ERROR(text_of(kReference / "safetensors_bad/seven_bytes.safetensors"),
                    "expected at least 8 bytes, found 7");
  EXPECT_USER_ERROR(text_of(folder.path() / "none.bin"), "no such file");
}

TEST(Inspection, FolderNamesTheFileOfEachTensor) {
  const TemporaryFolder folder;
  fs::copy_file(kReference / "torch_bad/ok_zip.bin", folder.path() / "pytorch_model.bin");
  EXPECT_EQ(text_of(folder.path()),
            "w  float32 [2, 3]  pytorch_model.bin\nHugging Face folder: 1 tensor, 6 parameters, 24 bytes\n");
  EXPECT_EQ(inspection_json(inspect_weights(folder.path()))["entries"][0]["file"], "pytorch_model.bin");
  EXPECT_USER_ERROR(text_of(kReference), "holds none of model.safetensors");
}

TEST(Inspection, OddNamesAndValuesStayOnTheirLine) {
  const TemporaryFolder folder;
  const std::string value = pickled_dict({{"two\nlines\x1b[2J", "N"},
                                          {"", "\x88"},
                                          {"list", "]K\1a" + pickled("a\nb") + "a"},
                                          {"nan", std::string("G\x7f\xf8\0\0\0\0\0\0", 9)},
                                          {"dtype", "ctorch\nfloat16\n"},
                                          {"tuple", ")"}});
  const auto path = write_file(folder.path() / "odd.pt", zip_bytes(torch_records(value)));
  EXPECT_EQ(text_of(path),
            "two\\nlines\\u001b[2J  null\n"
            "(unnamed)  true\n"
            "list  list of 2\n"
            "  0  1\n"
            "  1  \"a\\nb\"\n"
            "nan  \"nan\"\n"
            "dtype  \"torch.float16\"\n"
            "tuple  tuple of 0\n"
            "PyTorch: 0 tensors, 0 parameters, 0 bytes\n");
  const auto bare = write_file(folder.path() / "bare.pt", zip_bytes(torch_records("]K\7a")));
  EXPECT_EQ(text_of(bare), "(unnamed)  list of 1\n  0  7\nPyTorch: 0 tensors, 0 parameters, 0 bytes\n");
}

}  // namespace
}  // namespace blip2
