#define BLIP2_KERNELS avx2
#define BLIP2_KERNELS_NAME "AVX2"
#define BLIP2_MOST_ROWS 24
#define BLIP2_MOST_NARROW_ROWS 128
#include "nn/cpu_kernels_variant.h"
