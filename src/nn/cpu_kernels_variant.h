// One variant of cpu_kernels.h, named BLIP2_KERNELS. Included once by each of cpu_kernels_*.cpp, which the build
// gives its instruction set.
#pragma once

#include "nn/dropout_kernel.h"
#include "nn/linear_kernels_float.h"
#include "nn/linear_kernels_int4.h"
#include "nn/linear_kernels_int8.h"
#include "nn/linear_rounding_int4.h"
#include "nn/step_attention_kernel.h"

namespace blip2::BLIP2_KERNELS {

extern const CpuKernels kernels;
const CpuKernels kernels = {float_product<float>,
                            float_product<BFloat16>,
                            float_product<Half>,
                            int8_product,
                            int4_product,
                            round_row,
                            halve_row,
                            round_row_int8,
                            round_weights_int8,
                            round_weights_int4,
                            attend_step,
                            drop,
                            BLIP2_MOST_ROWS,
                            BLIP2_MOST_NARROW_ROWS,
                            BLIP2_KERNELS_NAME};

}  // namespace blip2::BLIP2_KERNELS
