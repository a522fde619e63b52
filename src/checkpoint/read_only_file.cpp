#include "checkpoint/read_only_file.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <system_error>

#include "blip2/core/error.h"

namespace blip2 {
namespace {

static_assert(std::endian::native == std::endian::little, "weights are little-endian and are read without conversion");

// One thread's share of a large tensor; a single thread does not saturate the page cache.
constexpr std::int64_t kBytesPerThread = std::int64_t{16} << 20;

}  // namespace

// O_NONBLOCK: a named pipe must be refused, not waited for.
ReadOnlyFile::ReadOnlyFile(const std::filesystem::path& path)
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

ReadOnlyFile::~ReadOnlyFile() {
  ::close(descriptor_);
}

void ReadOnlyFile::read(std::uint64_t offset, void* into, std::uint64_t count) const {
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

at::Tensor ReadOnlyFile::read_tensor(std::uint64_t offset, at::IntArrayRef shape, at::ScalarType dtype) const {
  at::Tensor tensor = at::empty(shape, at::TensorOptions().dtype(dtype));
  auto* bytes = static_cast<std::uint8_t*>(tensor.mutable_data_ptr());
  at::parallel_for(
      0, static_cast<std::int64_t>(tensor.nbytes()), kBytesPerThread, [&](std::int64_t from, std::int64_t to) {
        read(offset + static_cast<std::uint64_t>(from), bytes + from, static_cast<std::uint64_t>(to - from));
        // A bool that is neither 0 nor 1 is undefined behaviour in C++; Python reads it as true.
        if (dtype == at::kBool) {
          std::transform(bytes + from, bytes + to, bytes + from, [](std::uint8_t byte) { return byte != 0 ? 1 : 0; });
        }
      });
  return tensor;
}

}  // namespace blip2
