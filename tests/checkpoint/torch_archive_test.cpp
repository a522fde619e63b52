// Files of torch.save against every damaged file of the reference set, and each rule of the two forms by itself.
#include "blip2/checkpoint/torch_archive.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <torch/torch.h>

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "support/torch_file.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using Kind = TorchValue::Kind;

const fs::path kDamaged = fs::path(BLIP2_TEST_DATA) / "checkpoint" / "torch_bad";

std::string bytes_of(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::string float_bytes(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), 4 * values.size()};
}

std::vector<double> values_of(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.to(at::kDouble).reshape(-1);
  return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
}

// What Python's repr prints for the values of the reference set.
std::string python_text(const TorchValue& value) {
  if (value.kind == Kind::kInteger) return std::to_string(value.integer);
  if (value.kind == Kind::kReal) return nlohmann::json(value.real).dump();
  return "'" + value.text + "'";
}

void expect_content(const TorchArchive& archive, const TorchValue& value, const nlohmann::json& expected) {
  if (expected.is_object()) {
    ASSERT_EQ(value.kind, Kind::kDict);
    ASSERT_EQ(value.keys.size(), expected.size());
    for (const auto& [key, inner] : expected.items()) {
      SCOPED_TRACE(key);
      ASSERT_NE(value.find(key), nullptr);
      expect_content(archive, *value.find(key), inner);
    }
  } else if (expected.is_array()) {
    ASSERT_EQ(value.kind, Kind::kTensor);
    const at::Tensor tensor = archive.read(archive.tensors().at(static_cast<std::size_t>(value.integer)));
    static const std::map<std::string, at::ScalarType> dtypes{{"torch.float32", at::kFloat},
                                                              {"torch.float16", at::kHalf},
                                                              {"torch.bfloat16", at::kBFloat16},
                                                              {"torch.int64", at::kLong}};
    EXPECT_EQ(tensor.scalar_type(), dtypes.at(expected[0].get<std::string>()));
    EXPECT_EQ(tensor.sizes().vec(), expected[1].get<std::vector<std::int64_t>>());
    EXPECT_EQ(values_of(tensor), expected[2].get<std::vector<double>>());
    EXPECT_TRUE(tensor.is_contiguous());
  } else {
    EXPECT_EQ(python_text(value), expected.get<std::string>());
  }
}

TEST(TorchArchive, EveryFileGetsTheReferencesVerdictOrAStricterOne) {
  // The reference swaps the bytes of the one and makes a tensor of 12 TB of the other.
  const std::set<std::string> stricter{"zip_big_endian_mark.bin", "size_huge_zero_stride.bin"};
  const auto verdicts = nlohmann::json::parse(bytes_of(kDamaged / "verdicts.json"));
  ASSERT_EQ(verdicts.size(), 52U);
  for (const auto& [name, verdict] : verdicts.items()) {
    SCOPED_TRACE(name);
    if (!verdict["accepted"].get<bool>() || stricter.count(name) != 0) {
      EXPECT_USER_ERROR(TorchArchive(kDamaged / name), name + "': ");
      continue;
    }
    const TorchArchive archive(kDamaged / name);
    expect_content(archive, archive.content(), verdict["content"]);
  }
}

TEST(TorchArchive, EachRuleHasItsSentence) {
  const std::string run =
      ", but only tensors, numbers, texts, lists and dicts are read and nothing in a file is ever run";
  const std::string tensor = "a tensor of shape [2, 3] over storage '0' ";
  const std::vector<std::pair<std::string, std::string>> sentences{
      {"empty_file", "it is empty"},
      {"text_file", "it begins neither as a zip file nor as torch.save's older form"},
      {"html_error_page", "it is a web page, not weights: fetch it again"},
      {"git_lfs_pointer", "it is a Git LFS pointer: fetch the file that it stands for (git lfs pull)"},
      {"zip_truncated", "the zip file has no directory at its end, is the download complete?"},
      {"zip_without_central_directory", "the zip file has no directory at its end"},
      {"zip_wrong_magic", "it begins neither as a zip file"},
      {"zip_no_pickle", "the zip file holds no record 'archive/data.pkl'"},
      {"zip_no_data_record", "the zip file holds no record 'archive/data/0'"},
      {"zip_record_short", "storage '0' needs 24 bytes, its record holds 8"},
      {"zip_big_endian_mark", "its byte order must be 'little', found 'big'"},
      {"zip_unknown_byteorder", "its byte order must be 'little', found 'middle'"},
      {"zip_not_torch", "its version must be a number from 1 to 10, found 'hello'"},
      {"pickle_truncated", "the pickle ends too early"},
      {"pickle_garbage", "the pickle holds the opcode 0x67 at byte "},
      {"pickle_empty", "the pickle ends too early"},
      {"pickle_os_system", "its pickle names 'os.system'" + run},
      {"pickle_posix_system", "its pickle names 'posix.system'" + run},
      {"pickle_builtins_eval", "its pickle names 'builtins.eval'" + run},
      {"pickle_subprocess", "its pickle names 'subprocess.getoutput'" + run},
      {"pickle_torch_load", "its pickle names 'torch.load'" + run},
      {"pickle_protocol_4", "a pickle must begin with protocol 2"},
      {"pickle_protocol_0", "a pickle must begin with protocol 2"},
      {"pickle_memo_missing", "the pickle uses the value 5 before it is made"},
      {"pickle_stack_underflow", "the pickle takes a value that is not there"},
      {"legacy_truncated", "ends behind the end of the file, is the download complete?"},
      {"legacy_wrong_magic", "it is a pickle without the marks of torch.save"},
      {"legacy_os_system", "it is a pickle without the marks of torch.save"},
      {"storage_shorter_than_view", "shape [4, 3] over storage '0' needs 12 elements from 0, the storage holds 6"},
      {"storage_offset_beyond_end", tensor + "needs 6 elements from 5, the storage holds 6"},
      {"storage_offset_negative", tensor + "has a negative offset -1"},
      {"storage_numel_larger_than_record", "storage '0' needs 2400 bytes, its record holds 24"},
      {"storage_numel_smaller_than_record", "storage '0' needs 8 bytes, its record holds 24"},
      {"storage_numel_negative", "storage '0' has a negative size -6"},
      {"storage_key_with_path", "the zip file holds no record 'archive/data/../0'"},
      {"storage_type_unknown", "its pickle names 'torch.NoSuchStorage'" + run},
      {"size_negative", "a tensor of shape [-2, 3] over storage '0' has a negative size"},
      {"size_huge", "has sizes or strides whose product overflows 63 bits"},
      {"size_huge_zero_stride", "repeats elements until they outnumber the storage: save a contiguous copy"},
      {"size_product_overflow", "has sizes or strides whose product overflows 63 bits"},
      {"size_huge_with_stride", "needs 6442450944 elements from 0, the storage holds 6"},
      {"stride_negative", tensor + "has a negative stride"},
      {"stride_huge", tensor + "needs 2305843009213693955 elements from 0, the storage holds 6"},
      {"stride_count_wrong", tensor + "has 2 dimensions and 1 strides"},
      {"rebuild_unknown", "its pickle names 'torch._utils._rebuild_nothing'" + run},
  };
  EXPECT_EQ(sentences.size(), 45U);  // all of the set but the seven that are read
  for (const auto& [name, sentence] : sentences) {
    SCOPED_TRACE(name);
    EXPECT_USER_ERROR(TorchArchive(kDamaged / (name + ".bin")), sentence);
  }
}

TEST(TorchArchive, RefusesTensorsThatTheReferenceSetDoesNotHold) {
  const TemporaryFolder folder;
  const std::string four = pickled_storage("0", 4);
  const auto refused = [&](const std::string& value, const std::string& sentence) {
    SCOPED_TRACE(sentence);
    const std::string bytes = zip_bytes(torch_records(value, {{"0", float_bytes({1, 2, 3, 4})}}));
    EXPECT_USER_ERROR(TorchArchive(write_file(folder.path() / "written.pth", bytes)), sentence);
  };
  const std::vector<std::int64_t> many(65, 1);
  refused(pickled_tensor(four, 0, many, many), "1, 1, ...] over storage '0' has more than 64 dimensions");
  refused(pickled_tensor(four, 5, {0}, {1}), "begins behind its end");
  refused(pickled_tensor(four, 0, {0, std::int64_t{1} << 40, std::int64_t{1} << 40}, {1, 1, 1}), "overflows 63 bits");
  refused(pickled_tensor(four, 0, {5}, {0}), "repeats elements until they outnumber the storage");
  refused(pickled_storage("0", std::int64_t{1} << 62), "the size of storage '0' overflows 63 bits");
  refused(pickled_storage(std::string(101, '0'), 4), "a storage has a name of more than 100 letters");
  refused("(" + four + pickled_storage("0", 4, "IntStorage") + "t", "storage '0' appears with two types or sizes");
  refused("(" + four + pickled_storage("0", 3) + "t", "storage '0' appears with two types or sizes");
  refused(four, "it holds a storage outside of a tensor");
  refused("ctorch\nFloatStorage\n", "it holds a type outside of a tensor");
  refused(pickled_storage("0", 4, "Size"), "the type of storage '0' is no storage");
  refused(pickled("storage") + "Q", "describes a storage otherwise than torch.save does");
  refused("ctorch._utils\n_rebuild_tensor_v2\n(" + four + "tR", "describes a tensor otherwise than torch.save does");
  refused("ctorch._utils\n_rebuild_parameter\n(NtR", "'torch._utils._rebuild_parameter' with arguments");
  refused("ctorch\nFloatStorage\n)R",
          "the pickle calls 'torch.FloatStorage' with arguments that torch.save never writes");
  refused("ctorch\nSize\nNR", "the pickle passes None to a call");
  refused("N)R", "the pickle calls None");
  // A name cannot break the sentence into lines or flood it.
  refused("cos\r\x1b[2J\nsystem\n", R"(its pickle names 'os\r\u001b[2J.system')");
  refused("c" + std::string(300, 'x') + "\n", "holds a name of more than 256 bytes");
}

TEST(TorchArchive, EveryDtypeComesBackBitForBit) {
  const TemporaryFolder folder;
  const std::vector<std::pair<std::string, at::ScalarType>> types{
      {"Float", at::kFloat}, {"Half", at::kHalf}, {"BFloat16", at::kBFloat16}, {"Double", at::kDouble},
      {"Long", at::kLong},   {"Int", at::kInt},   {"Short", at::kShort},       {"Char", at::kChar},
      {"Byte", at::kByte},   {"Bool", at::kBool}};
  std::vector<std::pair<std::string, std::string>> storages, entries;
  std::map<std::string, at::Tensor> expected;
  for (const auto& [name, dtype] : types) {
    const at::Tensor tensor = torch::tensor({0, 1, 1, 0, 1, 0}).to(dtype);
    expected.emplace(name, tensor);
    storages.emplace_back(name, std::string(static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()));
    entries.emplace_back(name, pickled_tensor(pickled_storage(name, 6, name + "Storage"), 0, {6}, {1}));
  }
  // The newer way of writing a dtype that has no storage of its own: bytes, and the dtype with the tensor.
  storages.emplace_back("u", std::string("\1\0\0\1", 4));
  entries.emplace_back("u", "ctorch._utils\n_rebuild_tensor_v3\n((" + pickled("storage") +
                                "ctorch.storage\nUntypedStorage\n" + pickled("u") + pickled("cpu") + pickled(4) + "tQ" +
                                pickled(1) + "K\1\x85K\1\x85\x89" + "ccollections\nOrderedDict\n)Rctorch\nuint16\ntR");
  expected.emplace("u", torch::tensor({256}).to(at::kUInt16));
  const auto path = write_file(folder.path() / "all.pth", zip_bytes(torch_records(pickled_dict(entries), storages)));
  const NamedTensors tensors = load_torch_state_dict(path);
  ASSERT_EQ(tensors.size(), expected.size());
  for (const auto& [name, tensor] : expected) {
    EXPECT_EQ(tensors.at(name).scalar_type(), tensor.scalar_type()) << name;
    EXPECT_EQ(std::memcmp(tensors.at(name).const_data_ptr(), tensor.const_data_ptr(), tensor.nbytes()), 0) << name;
  }
}

TEST(TorchArchive, ABoolThatIsNeitherZeroNorOneIsTrue) {
  const TemporaryFolder folder;
  const std::string value = pickled_dict({{"b", pickled_tensor(pickled_storage("0", 3, "BoolStorage"), 0, {3}, {1})}});
  const auto path =
      write_file(folder.path() / "b.pth", zip_bytes(torch_records(value, {{"0", std::string("\7\0\1", 3)}})));
  const at::Tensor tensor = load_torch_state_dict(path).at("b");
  const std::vector<std::uint8_t> expected{1, 0, 1};
  EXPECT_EQ(std::memcmp(tensor.const_data_ptr(), expected.data(), 3), 0);
}

TEST(TorchArchive, ViewsOfOneStorageComeOutRowMajor) {
  const TemporaryFolder folder;
  std::vector<float> numbers(24);
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<float>(i);
  const std::string stored = pickled_storage("7", 24);
  const auto path =
      write_file(folder.path() / "views.pth",
                 zip_bytes(torch_records(pickled_dict({{"all", pickled_tensor(stored, 0, {4, 6}, {6, 1})},
                                                       {"transposed", pickled_tensor(stored, 0, {6, 4}, {1, 6})},
                                                       {"column", pickled_tensor(stored, 2, {4}, {6})},
                                                       {"row", pickled_tensor(stored, 6, {1, 6}, {99, 1})},
                                                       {"expanded", pickled_tensor(stored, 3, {2, 3}, {0, 1})},
                                                       {"overlapping", pickled_tensor(stored, 1, {3, 2}, {1, 1})},
                                                       {"scalar", pickled_tensor(stored, 23, {}, {})},
                                                       {"empty", pickled_tensor(stored, 24, {0, 5}, {5, 1})}}),
                                         {{"7", float_bytes(numbers)}})));
  const NamedTensors tensors = load_torch_state_dict(path);
  const at::Tensor all = torch::arange(24, at::kFloat).reshape({4, 6});
  const NamedTensors expected{{"all", all},
                              {"transposed", all.t().contiguous()},
                              {"column", all.select(1, 2).contiguous()},
                              {"row", all.slice(0, 1, 2)},
                              {"expanded", torch::tensor({{3.F, 4.F, 5.F}, {3.F, 4.F, 5.F}})},
                              {"overlapping", torch::tensor({{1.F, 2.F}, {2.F, 3.F}, {3.F, 4.F}})},
                              {"scalar", torch::tensor(23.F)},
                              {"empty", torch::empty({0, 5})}};
  ASSERT_EQ(tensors.size(), expected.size());
  for (const auto& [name, tensor] : expected) {
    EXPECT_TRUE(torch::equal(tensors.at(name), tensor)) << name;
    EXPECT_TRUE(tensors.at(name).is_contiguous()) << name;
    tensors.at(name).fill_(-1);  // an own copy: the others must not change
  }
}

TEST(TorchArchive, ZipFilesOfEveryKindAreReadOrRefused) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "written.pth";
  const std::string value = pickled_dict({{"a", pickled_tensor(pickled_storage("0", 2), 0, {2}, {1})}});
  const std::vector<ZipRecord> good = torch_records(value, {{"0", float_bytes({1, 2})}});
  const auto with = [&](std::size_t place, const ZipRecord& record) {
    std::vector<ZipRecord> records = good;
    records.at(place) = record;
    return zip_bytes(records);
  };
  const auto refused = [&](const std::string& bytes, const std::string& sentence) {
    SCOPED_TRACE(sentence);
    EXPECT_USER_ERROR(TorchArchive(write_file(path, bytes)), sentence);
  };
  const ZipRecord data = good.at(2);
  const std::string wide = zip_bytes(good, true), commented = zip_bytes(good);
  for (const std::string& bytes :
       {zip_bytes(good), wide, with(2, {data.name, data.data, 0, 0, true}),
        // A comment that looks like the end of a directory.
        commented.substr(0, commented.size() - 2) + little_endian(30, 2) + "PK\5\6" + std::string(26, 'x')}) {
    EXPECT_EQ(values_of(load_torch_state_dict(write_file(path, bytes)).at("a")), (std::vector<double>{1, 2}));
  }
  refused(with(2, {data.name, data.data, 8}), "the record 'archive/data/0' is compressed or encrypted");
  refused(with(2, {data.name, data.data, 0, 1}), "the record 'archive/data/0' is compressed or encrypted");
  refused(with(2, {data.name, data.data, 0, 0, false, "archive/data/1"}), "is not where the zip directory says");
  refused(with(1, good.at(0)), "the zip file holds the record 'archive/data.pkl' twice");
  refused(with(1, {"archive/version", "11"}), "its version must be a number from 1 to 10, found '11'");
  refused(with(1, {"archive/version", std::string(65, '3')}), "the record 'version' is too long");
  refused(with(0, {good.at(0).name, good.at(0).data + "."}), "the pickle goes on behind its end");
  std::vector<ZipRecord> script = good;
  script.push_back({"archive/constants.pkl", ""});
  refused(zip_bytes(script), "it is a TorchScript program, not weights");
  refused("PK\3\4" + std::string(100, 'x'), "the zip file has no directory at its end");
  const auto patched = [](std::string bytes, std::size_t from_end, const std::string& patch) {
    return bytes.replace(bytes.size() - from_end, patch.size(), patch);
  };
  refused(patched(zip_bytes(good), 6, little_endian(1U << 30, 4)), "the zip directory lies outside the file");
  refused(patched(zip_bytes(good), 12, little_endian(4, 2)), "the zip directory is damaged");
  refused(patched(wide, 22 + 12, little_endian(1U << 30, 8)), "the zip64 directory lies outside the file");
  refused(patched(wide, 6, little_endian(1, 4)), "the zip64 directory contradicts the older one");
  refused(patched(wide, 22 + 20 + 8, little_endian(~0ULL, 8)), "the zip64 directory contradicts the older one");
}

TEST(TorchArchive, OlderFormIsComparedWithWhatItsTensorsNeed) {
  const TemporaryFolder folder;
  const std::string good = bytes_of(kDamaged / "ok_legacy.bin");
  ASSERT_FALSE(TorchArchive(kDamaged / "ok_legacy.bin").is_zip());
  ASSERT_TRUE(TorchArchive(kDamaged / "ok_zip.bin").is_zip());
  const auto refused = [&](const std::string& bytes, const std::string& sentence) {
    SCOPED_TRACE(sentence);
    EXPECT_USER_ERROR(TorchArchive(write_file(folder.path() / "written.bin", bytes)), sentence);
  };
  refused(good + "x", "1 bytes at its end belong to nothing");
  std::string count = good;
  count[good.size() - 32] = 5;
  refused(count, "needs 6 elements, its data has 5");
  std::string order = good;
  order[good.find("little_endian") + 15] = '\x89';  // behind the text and its place in the memo: true becomes false
  refused(order, "its byte order must be little-endian");
  const std::size_t list = good.rfind("]q");
  refused(good.substr(0, list) + "]." + good.substr(good.size() - 32), "it lists 0 storages, the tensors use 1");
  std::string key = good;
  key[good.rfind("93996344944400")] = '8';
  refused(key, "it lists the storage '83996344944400', which no tensor uses");
  refused(good.substr(0, list) + "}." + good.substr(good.size() - 32), "the list of storages is missing");
  for (std::size_t size = 21; size < good.size(); ++size) {
    EXPECT_THROW(TorchArchive(write_file(folder.path() / "written.bin", good.substr(0, size))), UserError) << size;
  }
}

TEST(TorchArchive, MissingFileFolderPipeAndShrunkenFileAreErrorsNotHangs) {
  const TemporaryFolder folder;
  EXPECT_USER_ERROR(TorchArchive(folder.path() / "none"), "no such file");
  EXPECT_USER_ERROR(TorchArchive(folder.path()), "not a regular file");
  ASSERT_EQ(mkfifo((folder.path() / "pipe").c_str(), 0600), 0);
  EXPECT_USER_ERROR(TorchArchive(folder.path() / "pipe"), "not a regular file");
  fs::copy_file(kDamaged / "ok_zip.bin", folder.path() / "a.bin");
  const TorchArchive archive(folder.path() / "a.bin");
  fs::resize_file(folder.path() / "a.bin", 500);
  EXPECT_WORLD_ERROR(archive.read(archive.tensors().at(0)), "became shorter while it was read");
}

}  // namespace
}  // namespace blip2
