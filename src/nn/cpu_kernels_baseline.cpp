#define BLIP2_KERNELS baseline
#define BLIP2_KERNELS_NAME "baseline"
#define BLIP2_MOST_ROWS 4
#define BLIP2_MOST_NARROW_ROWS 8
#include "nn/cpu_kernels_variant.h"
