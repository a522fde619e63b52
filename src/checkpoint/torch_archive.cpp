// The two forms of a torch.save file differ in where the pickle and the storages lie; the rest is one.
#include "blip2/checkpoint/torch_archive.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "blip2/core/error.h"
#include "checkpoint/pickle.h"
#include "checkpoint/torch_objects.h"
#include "checkpoint/zip_directory.h"
#include "core/in_quotes.h"

namespace blip2 {
namespace {

// The older form begins with two pickles: a magic number and the version 1001.
constexpr std::string_view kLegacyStart("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.",
                                        21);
constexpr std::string_view kZipStart("PK\3\4", 4);

[[noreturn]] void refuse(const ReadOnlyFile& file, const std::string& rule) {
  throw UserError("'" + file.name() + "': not a valid PyTorch file: " + rule);
}

std::string first_bytes(const ReadOnlyFile& file, std::uint64_t count) {
  std::string bytes(std::min(count, file.size()), '\0');
  file.read(0, bytes.data(), bytes.size());
  return bytes;
}

std::string small_record(const ReadOnlyFile& file, const ZipDirectory& zip, const std::string& name) {
  constexpr std::uint64_t kLargest = 64;
  const FileRange range = zip.find(name);
  if (range.size > kLargest) refuse(file, "the record " + in_quotes(name) + " is too long");
  std::string text(range.size, '\0');
  file.read(range.begin, text.data(), text.size());
  while (text.ends_with('\n') || text.ends_with('\r')) text.pop_back();
  return text;
}

Pickle open_zip(const ReadOnlyFile& file, TorchObjects& objects) {
  const ZipDirectory zip(file);
  if (zip.contains("constants.pkl")) {
    refuse(file, "it is a TorchScript program, not weights: save the state dict of the module");
  }
  const std::string version = small_record(file, zip, "version");
  static constexpr std::array kVersions{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10"};
  if (std::find(kVersions.begin(), kVersions.end(), version) == kVersions.end()) {
    refuse(file, "its version must be a number from 1 to 10, found " + in_quotes(version));
  }
  const std::string order = zip.contains("byteorder") ? small_record(file, zip, "byteorder") : "little";
  if (order != "little") refuse(file, "its byte order must be 'little', found " + in_quotes(order));
  const FileRange range = zip.find("data.pkl");
  if (range.size > kLargestPickle) refuse(file, "its pickle has more than 100 MB");
  PickleInput input(file, range.begin, range.begin + range.size);
  Pickle pickle = read_pickle(input, objects);
  if (input.position() != range.begin + range.size) refuse(file, "the pickle goes on behind its end");
  for (StoredElements& storage : objects.storages()) {
    const FileRange data = zip.find("data/" + storage.key);
    if (data.size != storage.bytes) {
      refuse(file, "storage " + in_quotes(storage.key) + " needs " + std::to_string(storage.bytes) +
                       " bytes, its record holds " + std::to_string(data.size));
    }
    storage.begin = data.begin;
  }
  return pickle;
}

// Behind the object: the list of storages, then for each its number of elements and its data.
void locate_legacy_storages(const ReadOnlyFile& file, TorchObjects& objects, PickleInput& input) {
  TorchObjects nothing(file.name());
  const Pickle list = read_pickle(input, nothing);
  const PickleValue& keys = list.values[list.root];
  if (keys.kind != PickleValue::Kind::kList) refuse(file, "the list of storages is missing");
  if (keys.items.size() != objects.storages().size()) {
    refuse(file, "it lists " + std::to_string(keys.items.size()) + " storages, the tensors use " +
                     std::to_string(objects.storages().size()));
  }
  std::uint64_t position = input.position();
  std::set<std::string> seen;
  for (const PickleId id : keys.items) {
    const std::string& key = list.values[id].text;
    StoredElements* storage = objects.find_storage(key);
    if (storage == nullptr || !seen.insert(key).second) {
      refuse(file,
             "it lists the storage " + in_quotes(key) + (storage == nullptr ? ", which no tensor uses" : " twice"));
    }
    std::uint64_t count = 0;
    if (file.size() - position < sizeof count || file.size() - position - sizeof count < storage->bytes) {
      refuse(file, "storage " + in_quotes(key) + " ends behind the end of the file, is the download complete?");
    }
    file.read(position, &count, sizeof count);
    if (count != storage->count) {
      refuse(file, "storage " + in_quotes(key) + " needs " + std::to_string(storage->count) +
                       " elements, its data has " + std::to_string(count));
    }
    storage->begin = position + sizeof count;
    position = storage->begin + storage->bytes;
  }
  if (position != file.size())
    refuse(file, std::to_string(file.size() - position) + " bytes at its end belong to nothing");
}

Pickle open_legacy(const ReadOnlyFile& file, TorchObjects& objects) {
  const std::uint64_t begin = kLegacyStart.size();
  PickleInput input(file, begin, std::min(file.size(), begin + kLargestPickle));
  TorchObjects nothing(file.name());
  const Pickle system = read_pickle(input, nothing);
  const auto& facts = system.values[system.root];
  for (std::size_t i = 0; i + 1 < facts.items.size(); i += 2) {
    const auto &key = system.values[facts.items[i]], &value = system.values[facts.items[i + 1]];
    if (key.text == "little_endian" && value.integer == 0) refuse(file, "its byte order must be little-endian");
  }
  Pickle pickle = read_pickle(input, objects);
  locate_legacy_storages(file, objects, input);
  return pickle;
}

[[noreturn]] void refuse_other_file(const ReadOnlyFile& file) {
  const std::string start = first_bytes(file, 64);
  if (start.empty()) refuse(file, "it is empty");
  if (start.starts_with("version https://git-lfs")) {
    refuse(file, "it is a Git LFS pointer: fetch the file that it stands for (git lfs pull)");
  }
  if (start.starts_with("<")) refuse(file, "it is a web page, not weights: fetch it again");
  if (start.starts_with("\x80")) refuse(file, "it is a pickle without the marks of torch.save");
  refuse(file, "it begins neither as a zip file nor as torch.save's older form");
}

TorchTensor placed(const TensorView& view, const StoredElements& storage) {
  const std::uint64_t width = c10::elementSize(view.dtype), begin = storage.begin + view.offset * width;
  return {view.dtype, view.shape, view.strides, begin, begin + view.reach * width};
}

// The tree of a pickle, which read_pickle bounded.
TorchValue as_tree(const Pickle& pickle, PickleId id, const ReadOnlyFile& file) {
  using From = PickleValue::Kind;
  using To = TorchValue::Kind;
  static constexpr std::array kKinds{std::pair{From::kNone, To::kNone},       std::pair{From::kBool, To::kBool},
                                     std::pair{From::kInteger, To::kInteger}, std::pair{From::kReal, To::kReal},
                                     std::pair{From::kText, To::kText},       std::pair{From::kName, To::kName},
                                     std::pair{From::kList, To::kList},       std::pair{From::kTuple, To::kTuple},
                                     std::pair{From::kDict, To::kDict},       std::pair{From::kTensor, To::kTensor}};
  const PickleValue& from = pickle.values[id];
  const auto* kind =
      std::find_if(kKinds.begin(), kKinds.end(), [&](const auto& pair) { return pair.first == from.kind; });
  if (kind == kKinds.end()) refuse(file, "it holds " + std::string(described(from.kind)) + " outside of a tensor");
  TorchValue to{.kind = kind->second, .integer = from.integer, .real = from.real, .text = from.text};
  const bool is_dict = to.kind == To::kDict;
  std::set<std::pair<From, std::string>> seen;
  for (std::size_t i = 0; i < from.items.size(); ++i) {
    if (is_dict && i % 2 == 0) {
      const PickleValue& key = pickle.values[from.items[i]];
      const std::string text = key.kind == From::kText ? key.text : std::to_string(key.integer);
      if (!seen.emplace(key.kind, text).second) refuse(file, "a dict holds the key " + in_quotes(text) + " twice");
      to.keys.push_back(as_tree(pickle, from.items[i], file));
    } else {
      to.items.push_back(as_tree(pickle, from.items[i], file));
    }
  }
  return to;
}

}  // namespace

const TorchValue* TorchValue::find(std::string_view key) const {
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (keys[i].kind == Kind::kText && keys[i].text == key) return &items[i];
  }
  return nullptr;
}

struct TorchArchive::Contents {
  explicit Contents(const std::filesystem::path& file_path) : path(file_path), file(file_path) {
    const std::string start = first_bytes(file, kLegacyStart.size());
    is_zip = start.starts_with(kZipStart);
    if (!is_zip && start != kLegacyStart) refuse_other_file(file);
    TorchObjects objects(file.name());
    const Pickle pickle = is_zip ? open_zip(file, objects) : open_legacy(file, objects);
    content = as_tree(pickle, pickle.root, file);
    for (const TensorView& view : objects.tensors()) tensors.push_back(placed(view, objects.storages()[view.storage]));
  }

  std::filesystem::path path;
  ReadOnlyFile file;
  bool is_zip = false;
  TorchValue content;
  std::vector<TorchTensor> tensors;
};

TorchArchive::TorchArchive(const std::filesystem::path& path) : contents_(std::make_unique<Contents>(path)) {}
TorchArchive::~TorchArchive() = default;
TorchArchive::TorchArchive(TorchArchive&&) noexcept = default;
TorchArchive& TorchArchive::operator=(TorchArchive&&) noexcept = default;

const std::filesystem::path& TorchArchive::path() const {
  return contents_->path;
}
bool TorchArchive::is_zip() const {
  return contents_->is_zip;
}
const TorchValue& TorchArchive::content() const {
  return contents_->content;
}
const std::vector<TorchTensor>& TorchArchive::tensors() const {
  return contents_->tensors;
}

at::Tensor TorchArchive::read(const TorchTensor& tensor) const {
  bool is_row_major = true;
  std::int64_t expected = 1;
  for (std::size_t i = tensor.shape.size(); i > 0; --i) {
    is_row_major = is_row_major && (tensor.shape[i - 1] == 1 || tensor.strides[i - 1] == expected);
    expected *= tensor.shape[i - 1];
  }
  if (is_row_major || expected == 0) return contents_->file.read_tensor(tensor.begin, tensor.shape, tensor.dtype);
  const auto width = static_cast<std::int64_t>(c10::elementSize(tensor.dtype));
  const auto elements = static_cast<std::int64_t>(tensor.end - tensor.begin) / width;
  return contents_->file.read_tensor(tensor.begin, elements, tensor.dtype)
      .as_strided(tensor.shape, tensor.strides)
      .contiguous();
}

}  // namespace blip2
