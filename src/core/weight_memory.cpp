#include "blip2/core/weight_memory.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <malloc.h>
#include <sys/mman.h>

#include <limits>

namespace blip2 {
namespace {

constexpr std::size_t kLeastBytes = std::size_t{1} << 20;
constexpr std::size_t kHugePage = std::size_t{2} << 20;

}  // namespace

at::Tensor empty_weight(at::IntArrayRef sizes, at::ScalarType dtype) {
  const auto options = at::TensorOptions().dtype(dtype);
  std::size_t bytes = c10::elementSize(dtype);
  for (const std::int64_t size : sizes) bytes *= static_cast<std::size_t>(size);
  if (bytes < kLeastBytes) return at::empty(sizes, options);
  // Room to begin at a huge page; what is not touched costs nothing.
  const std::size_t mapped = bytes + kHugePage;
  void* memory = ::mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return at::empty(sizes, options);  // which says how much was asked for
  const auto address = reinterpret_cast<std::uintptr_t>(memory);
  auto* begin = reinterpret_cast<void*>((address + kHugePage - 1) & ~(kHugePage - 1));
  ::madvise(begin, bytes, MADV_HUGEPAGE);  // a hint: without it the pages are small
  return at::from_blob(
      begin, sizes, [memory, mapped](void*) { ::munmap(memory, mapped); }, options);
}

void keep_freed_memory() {
#if defined(__GLIBC__)
  ::mallopt(M_MMAP_MAX, 0);
  ::mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
#endif
}

}  // namespace blip2
