// Opens, bounds and reads a safetensors file; the rules of its header are in safetensors_header.cpp.
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <unordered_map>

#include "blip2/checkpoint/safetensors.h"
#include "blip2/core/error.h"
#include "checkpoint/safetensors_header.h"
#include "core/in_quotes.h"

namespace blip2 {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian and is read without conversion");

constexpr std::uint64_t kLengthBytes = 8;
// One thread's share of a large tensor; a single thread does not saturate the page cache.
constexpr std::int64_t kBytesPerThread = std::int64_t{16} << 20;

class ReadOnlyFile {
 public:
  // O_NONBLOCK: a named pipe must be refused, not waited for.
  explicit ReadOnlyFile(const std::filesystem::path& path)
      : name_(path.string()), descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    if (descriptor_ < 0) {
      if (errno == ENOENT || errno == ENOTDIR) throw UserError("cannot open '" + name_ + "': no such file");
      throw WorldError("cannot open '" + name_ + "': " + std::generic_category().message(errno));
    }
    struct stat status {};
    const bool regular = ::fstat(descriptor_, &status) == 0 && S_ISREG(status.st_mode);
    if (!regular) {
      ::close(descriptor_);
      throw UserError("cannot read '" + name_ + "': not a regular file");
    }
    size_ = static_cast<std::uint64_t>(status.st_size);
  }
  ~ReadOnlyFile() { ::close(descriptor_); }
  ReadOnlyFile(const ReadOnlyFile&) = delete;
  ReadOnlyFile& operator=(const ReadOnlyFile&) = delete;

  std::uint64_t size() const { return size_; }

  void read(std::uint64_t offset, void* into, std::uint64_t count) const {
    char* next = static_cast<char*>(into);
    while (count > 0) {
      const ssize_t got =
          ::pread(descriptor_, next, std::min<std::uint64_t>(count, 1U << 30), static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) throw WorldError("cannot read '" + name_ + "': " + std::generic_category().message(errno));
      if (got == 0) throw WorldError("cannot read '" + name_ + "': it became shorter while it was read");
      next += got;
      offset += static_cast<std::uint64_t>(got);
      count -= static_cast<std::uint64_t>(got);
    }
  }

 private:
  std::string name_;
  int descriptor_;
  std::uint64_t size_ = 0;
};

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
  at::Tensor tensor = at::empty(entry.shape, at::TensorOptions().dtype(entry.dtype));
  auto* bytes = static_cast<std::uint8_t*>(tensor.mutable_data_ptr());
  const auto size = static_cast<std::int64_t>(entry.end - entry.begin);
  at::parallel_for(0, size, kBytesPerThread, [&](std::int64_t from, std::int64_t to) {
    contents_->file.read(contents_->buffer_begin + entry.begin + static_cast<std::uint64_t>(from), bytes + from,
                         static_cast<std::uint64_t>(to - from));
    // A bool that is neither 0 nor 1 is undefined behaviour in C++; Python reads it as true.
    if (entry.dtype == at::kBool) {
      std::transform(bytes + from, bytes + to, bytes + from, [](std::uint8_t byte) { return byte != 0 ? 1 : 0; });
    }
  });
  return tensor;
}

NamedTensors load_safetensors(const std::filesystem::path& path) {
  const SafetensorsFile file(path);
  NamedTensors tensors;
  for (const auto& entry : file.tensors()) tensors.emplace(entry.name, file.read(entry.name));
  return tensors;
}

}  // namespace blip2
