#include "nn/cpu_kernels.h"

#include <array>

namespace blip2 {

#if defined(__x86_64__)
namespace avx512 {
extern const CpuKernels kernels;
}
namespace avx2 {
extern const CpuKernels kernels;
}
#endif
namespace baseline {
extern const CpuKernels kernels;
}

namespace {

/** The variants that this processor runs, then nulls. */
std::array<const CpuKernels*, 4> variants() {
  std::array<const CpuKernels*, 4> found{};
  std::size_t count = 0;
#if defined(__x86_64__)
  const bool has_avx2 =
      __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0 && __builtin_cpu_supports("f16c") != 0;
  const bool has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f") != 0 &&
                          __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512vl") != 0 &&
                          __builtin_cpu_supports("avx512vnni") != 0;
  if (has_avx512) found[count++] = &avx512::kernels;
  if (has_avx2) found[count++] = &avx2::kernels;
#endif
  found[count] = &baseline::kernels;
  return found;
}

}  // namespace

const CpuKernels* cpu_kernel_variant(int index) {
  static const std::array<const CpuKernels*, 4> found = variants();
  return found.at(static_cast<std::size_t>(index));
}

}  // namespace blip2
