#include "nn/integer_product.h"

#include <ATen/Parallel.h>
#include <torch/torch.h>

#include <algorithm>

#include "blip2/core/weight_memory.h"

namespace blip2 {
namespace {

// What the rows of x that are multiplied at once may take, in bytes, so that a core's cache keeps them.
constexpr std::int64_t kRowBytes = 384 << 10;
// Rows of a weight that are widened at once to be rounded.
constexpr std::int64_t kRowsAtOnce = 32;
// 255 * 127 * inputs, the largest sum of an int8 product, stays below 2^31.
constexpr std::int64_t kMostInputs = 1 << 16;

std::int64_t grain(std::int64_t work_of_one) {
  return std::max<std::int64_t>(1, kLeastWork / std::max<std::int64_t>(1, work_of_one));
}

/** Inputs as integers; LinearTask points into them. */
struct RoundedInputs {
  at::Tensor parts, part_sums, scale, group_sums;
};

RoundedInputs round_inputs(const at::Tensor& x, std::int64_t in, bool with_group_sums) {
  const LinearKernels& kernels = linear_kernels();
  const std::int64_t rows = x.size(0), count = x.size(1), groups = with_group_sums ? in / kInt4Group : 0;
  RoundedInputs inputs{at::empty({2 * rows, in}, at::kChar), at::empty({rows, 2}, at::kInt),
                       at::empty({rows}, at::kFloat), at::empty({rows, groups}, at::kFloat)};
  auto* parts = inputs.parts.data_ptr<std::int8_t>();
  auto* sums = inputs.part_sums.data_ptr<std::int32_t>();
  auto* scales = inputs.scale.data_ptr<float>();
  auto* group_sums = inputs.group_sums.data_ptr<float>();
  const float* values = x.const_data_ptr<float>();
  at::parallel_for(0, rows, grain(count), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      scales[r] = kernels.quantize_row(values + r * count, count, in, parts + 2 * r * in, sums + 2 * r);
      if (with_group_sums) kernels.sum_groups(parts + 2 * r * in, in, group_sums + r * groups);
    }
  });
  return inputs;
}

}  // namespace

void run_kernel(void (*kernel)(const LinearTask&), const LinearTask& task, std::int64_t out, std::int64_t row_bytes) {
  // Whole tiles of every variant: six, five and four rows, and three pairs.
  const std::int64_t most = std::max<std::int64_t>(12, kRowBytes / row_bytes);
  const std::int64_t blocks = (task.rows + most - 1) / most;
  const std::int64_t block = (task.rows + blocks - 1) / blocks;
  at::parallel_for(0, out, grain(task.in * task.rows), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = 0; row < task.rows; row += block) {
      LinearTask share = task;
      share.begin = begin;
      share.end = end;
      share.rows = std::min(block, task.rows - row);
      if (share.x != nullptr) share.x += row * task.in;
      if (share.parts != nullptr) share.parts += 2 * row * task.in;
      if (share.part_sums != nullptr) share.part_sums += 2 * row;
      if (share.group_sums != nullptr) share.group_sums += row * (task.in / kInt4Group);
      if (share.x_scale != nullptr) share.x_scale += row;
      share.y += row * task.y_stride;
      kernel(share);
    }
  });
}

RoundedWeight round_weight(const at::Tensor& weight, IntegerWeights format) {
  TORCH_CHECK(weight.is_cpu(), "quantize: expected a weight on the CPU, found one on ", weight.device());
  const LinearKernels& kernels = linear_kernels();
  const std::int64_t out = weight.size(0), in = weight.size(1);
  TORCH_CHECK(in <= kMostInputs, "quantize: expected at most ", kMostInputs, " inputs, found ", in);
  const std::int64_t padded = (in + kIntegerStep - 1) / kIntegerStep * kIntegerStep, groups = padded / kInt4Group;
  const bool int4 = format == IntegerWeights::kInt4;
  RoundedWeight rounded{int4 ? empty_weight({out, padded / 2}, at::kByte) : empty_weight({out, padded}, at::kChar),
                        int4 ? at::empty({out, groups}, at::kBFloat16) : at::empty({out}, at::kFloat)};
  at::parallel_for(0, out, grain(in), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t next = begin; next < end; next += kRowsAtOnce) {
      const at::Tensor wide = weight.narrow(0, next, std::min(kRowsAtOnce, end - next)).to(at::kFloat).contiguous();
      for (std::int64_t r = 0; r < wide.size(0); ++r) {
        const float* row = wide.const_data_ptr<float>() + r * in;
        if (int4) {
          kernels.round_row_int4(
              row, in, padded, rounded.values.data_ptr<std::uint8_t>() + (next + r) * padded / 2,
              reinterpret_cast<std::uint16_t*>(rounded.scale.data_ptr<at::BFloat16>()) + (next + r) * groups);
        } else {
          rounded.scale.data_ptr<float>()[next + r] =
              kernels.round_row_int8(row, in, padded, rounded.values.data_ptr<std::int8_t>() + (next + r) * padded);
        }
      }
    }
  });
  return rounded;
}

at::Tensor integer_product(const at::Tensor& x, const RoundedWeight& weight, const at::Tensor& bias) {
  const LinearKernels& kernels = linear_kernels();
  const bool int4 = weight.values.scalar_type() == at::kByte;
  const std::int64_t out = weight.values.size(0);
  LinearTask task;
  task.in = weight.values.size(1) * (int4 ? 2 : 1);
  const RoundedInputs inputs = round_inputs(x, task.in, int4);
  at::Tensor y = at::empty({x.size(0), out}, x.options());
  task.weight = weight.values.const_data_ptr();
  if (int4) {
    task.group_scale = reinterpret_cast<const std::uint16_t*>(weight.scale.const_data_ptr<at::BFloat16>());
    task.group_sums = inputs.group_sums.const_data_ptr<float>();
  } else {
    task.weight_scale = weight.scale.const_data_ptr<float>();
  }
  task.bias = data_or_null(bias);
  task.rows = x.size(0);
  task.parts = inputs.parts.const_data_ptr<std::int8_t>();
  task.part_sums = inputs.part_sums.const_data_ptr<std::int32_t>();
  task.x_scale = inputs.scale.const_data_ptr<float>();
  task.y = y.data_ptr<float>();
  task.y_stride = out;
  run_kernel(int4 ? kernels.from_int4 : kernels.from_int8, task, out, task.in * 2);
  return y;
}

}  // namespace blip2
