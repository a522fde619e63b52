#define BLIP2_KERNELS avx512
#define BLIP2_KERNELS_NAME "AVX-512"
#define BLIP2_MOST_ROWS 256
#define BLIP2_MOST_NARROW_ROWS (std::int64_t{1} << 40)
#include "nn/cpu_kernels_variant.h"
