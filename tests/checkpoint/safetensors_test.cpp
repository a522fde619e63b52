// The container against every damaged file of the reference set, and its own bytes against the format's rules.
#include "blip2/checkpoint/safetensors.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <torch/torch.h>

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace blip2 {
namespace {

const std::filesystem::path kDamaged = std::filesystem::path(BLIP2_TEST_DATA) / "checkpoint" / "safetensors_bad";

std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::filesystem::path write_container(const TemporaryFolder& folder, const std::string& header,
                                      const std::string& data) {
  const auto path = folder.path() / "written.safetensors";
  std::ofstream stream(path, std::ios::binary);
  const std::uint64_t length = header.size();
  stream.write(reinterpret_cast<const char*>(&length), 8);
  stream << header << data;
  return path;
}

bool equal_bits(const at::Tensor& a, const at::Tensor& b) {
  if (a.scalar_type() != b.scalar_type() || a.sizes() != b.sizes()) return false;
  return a.numel() == 0 ||  // memcmp may not be given the null pointers of empty tensors
         std::memcmp(a.contiguous().const_data_ptr(), b.contiguous().const_data_ptr(), a.nbytes()) == 0;
}

TEST(Safetensors, EveryDamagedFileGetsTheReferencesVerdictOrAStricterOne) {
  // The reference accepts these; a second tensor of a name, an unknown field and a leading space are refused here.
  const std::set<std::string> stricter{"duplicate_keys.safetensors", "extra_field.safetensors",
                                       "header_starts_with_space.safetensors"};
  const auto verdicts = nlohmann::json::parse(bytes_of(kDamaged / "verdicts.json"));
  ASSERT_EQ(verdicts.size(), 63U);
  for (const auto& [name, verdict] : verdicts.items()) {
    SCOPED_TRACE(name);
    if (!verdict["accepted"].get<bool>() || stricter.count(name) != 0) {
      EXPECT_USER_ERROR(load_safetensors(kDamaged / name), name + "': ");
      continue;
    }
    const NamedTensors tensors = load_safetensors(kDamaged / name);
    EXPECT_EQ(tensors.size(), verdict["content"].size());
    for (const auto& [tensor_name, content] : verdict["content"].items()) {
      const at::Tensor& tensor = tensors.at(tensor_name);
      EXPECT_EQ(content[0], tensor.scalar_type() == at::kBool ? "torch.bool" : "torch.float32");
      EXPECT_EQ(content[1].get<std::vector<std::int64_t>>(), tensor.sizes().vec());
      const at::Tensor values = tensor.to(at::kDouble).reshape(-1);
      EXPECT_EQ(content[2].get<std::vector<double>>(),
                std::vector<double>(values.data_ptr<double>(), values.data_ptr<double>() + values.numel()));
    }
  }
}

TEST(Safetensors, EachRuleHasItsSentence) {
  const std::vector<std::pair<std::string, std::string>> sentences{
      {"empty_file", "expected at least 8 bytes, found 0"},
      {"seven_bytes", "expected at least 8 bytes, found 7"},
      {"eight_bytes_zero_header", "the header must be JSON that begins with '{'"},
      {"header_longer_than_file", "after the length, is the download complete?"},
      {"header_over_100_megabytes", "the limit is 100000000"},
      {"header_length_near_2_to_64", "the limit is 100000000"},
      {"header_shorter_than_json", "not valid JSON at byte"},
      {"header_trailing_text", "not valid JSON at byte"},
      {"header_not_utf8", "not valid UTF-8 at byte"},
      {"header_starts_with_space", "begins with '{'"},
      {"utf8_bom_before_header", "begins with '{'"},
      {"duplicate_keys", "the name 'a' appears twice"},
      {"depth_bomb", "'a' must be an object, found a list"},
      {"missing_dtype", "tensor 'a': 'dtype' is missing"},
      {"missing_shape", "tensor 'a': 'shape' is missing"},
      {"missing_data_offsets", "tensor 'a': 'data_offsets' is missing"},
      {"extra_field", "tensor 'a': unknown field 'strides'"},
      {"offsets_three_numbers", "tensor 'a': 'data_offsets' must hold two numbers, found more"},
      {"offsets_floats",
       "tensor 'a': 'data_offsets' must hold non-negative integers, found a number that is not an integer"},
      {"offsets_negative", "tensor 'a': 'data_offsets' must hold non-negative integers, found a negative number"},
      {"offsets_end_before_begin", "before their begin"},
      {"offsets_overlap", "tensor 'b': its data begins at 4, overlapping 8"},
      {"offsets_gap", "tensor 'b': its data begins at 12, leaving a hole after 8"},
      {"offsets_not_from_zero", "tensor 'a': its data begins at 4, leaving a hole after 0"},
      {"trailing_bytes", "4 bytes after the last tensor belong to none"},
      {"data_missing", "but the file holds 0 bytes of data, is the download complete?"},
      {"data_short", "but the file holds 5 bytes of data"},
      {"shape_times_dtype_too_small", "tensor 'a': dtype and shape need 4 bytes, 'data_offsets' span 8"},
      {"shape_product_overflow", "tensor 'a': the size in bytes of its shape overflows 63 bits"},
      {"shape_bytes_overflow", "tensor 'a': the size in bytes of its shape overflows 63 bits"},
      {"shape_overflow_hidden_by_zero", "tensor 'a': the size in bytes of its shape overflows 63 bits"},
      {"shape_not_a_list", "tensor 'a': 'shape' must be a list, found a number"},
      {"shape_string", "tensor 'a': 'shape' must hold non-negative integers, found a string"},
      {"dtype_unknown", "tensor 'a': unknown dtype 'F99'"},
      {"dtype_number", "tensor 'a': 'dtype' must be a string, found a number"},
      {"metadata_not_an_object", "'__metadata__' must be an object, found a string"},
      {"metadata_number_value", "'__metadata__' must map to strings, found a number"},
      {"metadata_nested", "'__metadata__' must map to strings, found an object"},
  };
  for (const auto& [name, sentence] : sentences) {
    SCOPED_TRACE(name);
    EXPECT_USER_ERROR(SafetensorsFile(kDamaged / (name + ".safetensors")), sentence);
  }
}

TEST(Safetensors, RefusesWhatTheReferenceSetDoesNotHold) {
  const TemporaryFolder folder;
  const auto refused = [&](const std::string& header, const std::string& sentence) {
    SCOPED_TRACE(header);
    EXPECT_USER_ERROR(load_safetensors(write_container(folder, header, "")), sentence);
  };
  const std::string empty = R"("dtype":"F32","data_offsets":[0,0])";
  refused("{}" + std::string(6, '\0'), "begins with '{'");
  refused(R"({"a":{"shape":[0,18446744073709551615],)" + empty + "}}", "which is too large");
  refused(R"({"a":{"shape":[-0],)" + empty + "}}", "found a negative number");
  refused(R"({"a":{"shape":[99999999999999999999999],)" + empty + "}}", "not an integer");
  refused(R"({"a":{"shape":[0],"shape":[0],)" + empty + "}}", "'shape' appears twice");
  refused(R"({"__metadata__":{"k":"1","k":"2"}})", "has the key 'k' twice");
  refused(R"({"__metadata__":{},"__metadata__":{}})", "the name '__metadata__' appears twice");
  std::string many = "0";
  for (int i = 0; i < 64; ++i) many += ",1";
  refused(R"({"a":{"shape":[)" + many + "]," + empty + "}}", "more than 64 dimensions");
  // A name cannot break the sentence into lines or flood it.
  refused(R"({"two\nlines":{}})", R"(tensor 'two\nlines': 'dtype' is missing)");
  refused("{\"" + std::string(5000, 'x') + "\":{}}", "xxx...': 'dtype' is missing");
}

TEST(Safetensors, MissingFileFolderAndPipeAreErrorsNotHangs) {
  const TemporaryFolder folder;
  EXPECT_USER_ERROR(SafetensorsFile(folder.path() / "none"), "no such file");
  EXPECT_USER_ERROR(SafetensorsFile(folder.path()), "not a regular file");
  ASSERT_EQ(mkfifo((folder.path() / "pipe").c_str(), 0600), 0);
  EXPECT_USER_ERROR(SafetensorsFile(folder.path() / "pipe"), "not a regular file");
}

TEST(Safetensors, FileThatShrinksAfterOpeningIsAnErrorNotACrash) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "a.safetensors";
  save_safetensors({{"a", torch::ones({1000})}}, path);
  const SafetensorsFile file(path);
  std::filesystem::resize_file(path, 500);
  EXPECT_WORLD_ERROR(file.read("a"), "became shorter while it was read");
}

TEST(Safetensors, EveryDtypeAndShapeComesBackBitForBit) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "all.safetensors";
  torch::manual_seed(3);
  NamedTensors tensors{
      {"scalar", torch::tensor(2.5)}, {"empty", torch::empty({0, 4})}, {"\xc3\xa9.\"quoted\"", torch::ones({1})}};
  for (const auto dtype : {at::kFloat, at::kHalf, at::kBFloat16, at::kDouble, at::kLong, at::kInt, at::kShort,
                           at::kChar, at::kByte, at::kBool}) {
    tensors.emplace(c10::toString(dtype), torch::randint(0, 2, {3, 5, 7}).to(dtype));
  }
  tensors["float_bits"] = torch::tensor({std::nanf(""), -0.0F, INFINITY, 1e-42F});
  save_safetensors(tensors, path, {{"epoch", "3"}});

  const NamedTensors loaded = load_safetensors(path);
  ASSERT_EQ(loaded.size(), tensors.size());
  for (const auto& [name, tensor] : tensors) EXPECT_TRUE(equal_bits(tensor, loaded.at(name))) << name;
  EXPECT_EQ(SafetensorsFile(path).metadata(), (std::map<std::string, std::string>{{"epoch", "3"}, {"format", "pt"}}));
}

TEST(Safetensors, StridedTensorsAndParametersAreWrittenRowMajor) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "strided.safetensors";
  const auto base = torch::arange(24, at::kFloat).reshape({4, 6});
  save_safetensors({{"transposed", base.t()},
                    {"column", base.select(1, 2)},
                    {"expanded", base.select(0, 0).expand({3, 6})},
                    {"parameter", torch::ones({2}, at::requires_grad())}},
                   path);
  const auto loaded = load_safetensors(path);
  EXPECT_TRUE(equal_bits(loaded.at("transposed"), base.t().contiguous()));
  EXPECT_TRUE(equal_bits(loaded.at("column"), base.select(1, 2).contiguous()));
  EXPECT_TRUE(equal_bits(loaded.at("expanded"), base.select(0, 0).expand({3, 6}).contiguous()));
  EXPECT_FALSE(loaded.at("parameter").requires_grad());
}

TEST(Safetensors, BytesFollowTheReferenceLayoutAndNeverVary) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "layout.safetensors";
  const NamedTensors tensors{
      {"a", torch::ones({3}, at::kByte)}, {"b", torch::ones({2})}, {"c", torch::ones({1}, at::kLong)}};
  save_safetensors(tensors, path, {{"format", "tf"}});
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"c":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},)"
      R"("b":{"dtype":"F32","shape":[2],"data_offsets":[8,16]},"a":{"dtype":"U8","shape":[3],"data_offsets":[16,19]}})";
  const std::string bytes = bytes_of(path);
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  EXPECT_EQ(length % 8, 0U);
  EXPECT_EQ(bytes.substr(8, header.size()), header);
  EXPECT_EQ(bytes.substr(8 + header.size(), length - header.size()), std::string(length - header.size(), ' '));
  EXPECT_EQ(bytes.size(), 8 + length + 19);
  save_safetensors(tensors, path, {{"format", "tf"}});
  EXPECT_EQ(bytes_of(path), bytes);
}

TEST(Safetensors, LargeTensorReadByManyThreadsIsExact) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "large.safetensors";
  const auto large = torch::arange(std::int64_t{9} << 20, at::kLong);  // 72 MiB: several threads' shares
  save_safetensors({{"large", large}, {"odd", torch::ones({3}, at::kChar)}}, path);
  EXPECT_TRUE(equal_bits(load_safetensors(path).at("large"), large));
}

TEST(Safetensors, WriterRefusesWhatCannotBeReadBack) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "refused.safetensors";
  EXPECT_USER_ERROR(save_safetensors({{"\xff", torch::ones({1})}}, path), "not valid UTF-8");
  EXPECT_USER_ERROR(save_safetensors({{"__metadata__", torch::ones({1})}}, path),
                    "not allowed as the name of a tensor");
  EXPECT_THROW(save_safetensors({{"a", at::Tensor()}}, path), c10::Error);
  EXPECT_THROW(save_safetensors({{"a", torch::ones({1}, at::kComplexFloat)}}, path), c10::Error);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  EXPECT_USER_ERROR(SafetensorsFile(kDamaged / "ok_plain.safetensors").read("b"), "holds no tensor 'b'");
}

}  // namespace
}  // namespace blip2
