#include "checkpoint/read_only_file.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
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
constexpr std::int64_t kBytesPerThread = std::int64_t{4} << 20;
// What is converted at once: little enough to stay in the cache between reading and converting.
constexpr std::int64_t kBytesAtOnce = std::int64_t{1} << 19;

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

void ReadOnlyFile::read_values(std::uint64_t offset, at::ScalarType dtype, void* into, std::uint64_t bytes) const {
  read(offset, into, bytes);
  if (dtype != at::kBool) return;
  // A bool that is neither 0 nor 1 is undefined behaviour in C++; Python reads it as true.
  auto* begin = static_cast<std::uint8_t*>(into);
  std::transform(begin, begin + bytes, begin, [](std::uint8_t byte) { return byte != 0 ? 1 : 0; });
}

at::Tensor ReadOnlyFile::read_tensor(std::uint64_t offset, at::IntArrayRef shape, at::ScalarType dtype) const {
  at::Tensor tensor = at::empty(shape, at::TensorOptions().dtype(dtype));
  read_into(tensor, offset, dtype);
  return tensor;
}

void ReadOnlyFile::read_into(at::Tensor target, std::uint64_t offset, at::ScalarType dtype) const {
  const at::NoGradGuard no_grad;
  if (!target.is_cpu() || !target.is_contiguous()) {
    target.copy_(read_tensor(offset, target.sizes(), dtype));
    return;
  }
  const at::Tensor flat = target.detach().view({-1});
  const auto stored_size = static_cast<std::int64_t>(c10::elementSize(dtype));
  const auto place = [&](std::int64_t element) { return offset + static_cast<std::uint64_t>(element * stored_size); };
  const auto bytes = [&](std::int64_t count) { return static_cast<std::uint64_t>(count * stored_size); };
  // Threads that read several places of one file look to the kernel like no sequence worth reading ahead. A hint.
  ::posix_fadvise(descriptor_, static_cast<off_t>(offset), static_cast<off_t>(bytes(flat.numel())),
                  POSIX_FADV_WILLNEED);
  at::parallel_for(0, flat.numel(), kBytesPerThread / stored_size, [&](std::int64_t from, std::int64_t to) {
    if (dtype == target.scalar_type()) {
      auto* into = static_cast<std::uint8_t*>(flat.mutable_data_ptr()) + from * stored_size;
      read_values(place(from), dtype, into, bytes(to - from));
      return;
    }
    const std::int64_t step = std::min(to - from, kBytesAtOnce / stored_size);
    const at::Tensor piece = at::empty({step}, at::TensorOptions().dtype(dtype));
    for (std::int64_t next = from; next < to; next += step) {
      const std::int64_t count = std::min(step, to - next);
      read_values(place(next), dtype, piece.mutable_data_ptr(), bytes(count));
      flat.narrow(0, next, count).copy_(piece.narrow(0, 0, count));
    }
  });
}

}  // namespace blip2
