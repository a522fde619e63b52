// Opens, bounds and reads a safetensors file; the rules of its header are in safetensors_header.cpp.
#include <algorithm>
#include <unordered_map>

#include "blip2/checkpoint/safetensors.h"
#include "blip2/core/error.h"
#include "checkpoint/read_only_file.h"
#include "checkpoint/safetensors_header.h"
#include "core/in_quotes.h"

namespace blip2 {
namespace {

constexpr std::uint64_t kLengthBytes = 8;

}  // namespace

struct SafetensorsFile::Contents {
  explicit Contents(const std::filesystem::path& file_path) : path(file_path), file(file_path) {
    const std::string name = "'" + path.string() + "': not a valid safetensors file: ";
    if (file.size() < kLengthBytes) {
      throw UserError(name + "expected at least 8 bytes, found " + std::to_string(file.size()));
    }
    std::uint64_t length = 0;
    file.read(0, &length, kLengthBytes);
    if (length > kLargestSafetensorsHeader) {
      throw UserError(name + "its header claims " + std::to_string(length) + " bytes, the limit is " +
                      std::to_string(kLargestSafetensorsHeader));
    }
    if (length > file.size() - kLengthBytes) {
      throw UserError(name + "its header claims " + std::to_string(length) + " bytes, the file holds " +
                      std::to_string(file.size() - kLengthBytes) + " after the length, is the download complete?");
    }
    std::string text(length, ' ');
    file.read(kLengthBytes, text.data(), length);
    buffer_begin = kLengthBytes + length;
    header = parse_safetensors_header(text, file.size() - buffer_begin, path.string());
    for (std::size_t i = 0; i < header.tensors.size(); ++i) by_name.emplace(header.tensors[i].name, i);
  }

  std::filesystem::path path;
  ReadOnlyFile file;
  std::uint64_t buffer_begin = 0;
  SafetensorsHeader header;
  std::unordered_map<std::string, std::size_t> by_name;
};

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : contents_(std::make_unique<Contents>(path)) {}
SafetensorsFile::~SafetensorsFile() = default;
SafetensorsFile::SafetensorsFile(SafetensorsFile&&) noexcept = default;
SafetensorsFile& SafetensorsFile::operator=(SafetensorsFile&&) noexcept = default;

const std::filesystem::path& SafetensorsFile::path() const {
  return contents_->path;
}
const std::vector<TensorInfo>& SafetensorsFile::tensors() const {
  return contents_->header.tensors;
}
const std::map<std::string, std::string>& SafetensorsFile::metadata() const {
  return contents_->header.metadata;
}
bool SafetensorsFile::contains(const std::string& name) const {
  return contents_->by_name.count(name) != 0;
}

const TensorInfo& SafetensorsFile::info(const std::string& name) const {
  const auto found = contents_->by_name.find(name);
  if (found == contents_->by_name.end()) {
    throw UserError("'" + contents_->path.string() + "': holds no tensor " + in_quotes(name));
  }
  return contents_->header.tensors[found->second];
}

at::Tensor SafetensorsFile::read(const std::string& name) const {
  const TensorInfo& entry = info(name);
  return contents_->file.read_tensor(contents_->buffer_begin + entry.begin, entry.shape, entry.dtype);
}

at::Tensor SafetensorsFile::read_first(const std::string& name, std::int64_t count) const {
  const TensorInfo& entry = info(name);
  std::int64_t all = 1;
  for (const std::int64_t size : entry.shape) all *= size;
  return contents_->file.read_tensor(contents_->buffer_begin + entry.begin, {std::min(count, all)}, entry.dtype);
}

void SafetensorsFile::read_into(at::Tensor target, const std::string& name) const {
  const TensorInfo& entry = info(name);
  TORCH_CHECK(target.sizes() == at::IntArrayRef(entry.shape), "read_into: tensor ", in_quotes(name), " has shape ",
              at::IntArrayRef(entry.shape), ", the target has ", target.sizes());
  contents_->file.read_into(std::move(target), contents_->buffer_begin + entry.begin, entry.dtype);
}

NamedTensors load_safetensors(const std::filesystem::path& path) {
  const SafetensorsFile file(path);
  NamedTensors tensors;
  for (const auto& entry : file.tensors()) tensors.emplace(entry.name, file.read(entry.name));
  return tensors;
}

}  // namespace blip2
