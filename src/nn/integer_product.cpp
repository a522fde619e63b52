#include "nn/integer_product.h"

#include <ATen/Parallel.h>
#include <torch/torch.h>

#include <algorithm>
#include <vector>

#include "blip2/core/weight_memory.h"

namespace blip2 {
namespace {

// What the rows of x that are multiplied at once may take, in bytes, so that a core's cache keeps them.
constexpr std::int64_t kRowBytes = 384 << 10;
// 255 * 127 * inputs, the largest sum of an int8 product, stays below 2^31.
constexpr std::int64_t kMostInputs = 1 << 16;

std::int64_t grain(std::int64_t work_of_one) {
  return std::max<std::int64_t>(1, kLeastWork / std::max<std::int64_t>(1, work_of_one));
}

std::int64_t filled_up(std::int64_t count, std::int64_t multiple) {
  return (count + multiple - 1) / multiple * multiple;
}

bool is_int4(const RoundedWeight& weight) {
  return weight.values.scalar_type() == at::kShort;
}

std::uint16_t* bits(const at::Tensor& tensor) {
  return static_cast<std::uint16_t*>(tensor.data_ptr());
}

/** Inputs as integers; LinearTask points into them. */
struct RoundedInputs {
  at::Tensor rounded, scale;
  at::Tensor parts, part_sums;  // of an int8 product
};

/** `parts_per_row`: how many of int8 stand for a row; 0: int16 is all that is needed. */
RoundedInputs round_inputs(const at::Tensor& x, std::int64_t in, std::int64_t stride, std::int64_t parts_per_row) {
  const CpuKernels& kernels = cpu_kernels();
  const std::int64_t rows = x.size(0), count = x.size(1), all_parts = parts_per_row * rows;
  const std::int64_t wide_rows = parts_per_row == 1 ? 0 : rows;
  RoundedInputs inputs{at::empty({wide_rows, stride}, at::kShort), at::empty({rows}, at::kFloat),
                       at::empty({all_parts, stride}, at::kChar), at::empty({all_parts}, at::kInt)};
  auto* rounded = inputs.rounded.data_ptr<std::int16_t>();
  auto* parts = inputs.parts.data_ptr<std::int8_t>();
  auto* sums = inputs.part_sums.data_ptr<std::int32_t>();
  auto* scales = inputs.scale.data_ptr<float>();
  const float* values = x.const_data_ptr<float>();
  at::parallel_for(0, rows, grain(count), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const float* row = values + r * count;
      if (parts_per_row == 1) {
        scales[r] = kernels.round_row_int8(row, count, in, parts + r * stride, sums + r);
        continue;
      }
      scales[r] = kernels.round_row(row, count, in, rounded + r * stride);
      if (parts_per_row == 2) {
        kernels.halve_row(rounded + r * stride, in, stride, parts + 2 * r * stride, sums + 2 * r);
      }
    }
  });
  return inputs;
}

/** Where a piece of a row lies that is `piece` long, of outputs in blocks with rows of `length` such numbers. */
std::int64_t place_in_blocks(std::int64_t output, std::int64_t begin, std::int64_t piece, std::int64_t length) {
  const std::int64_t block = output / kOutputBlock, within = output % kOutputBlock;
  return block * kOutputBlock * length + begin * kOutputBlock + within * piece;
}

/** A row into its block, in pieces. */
template <typename Number>
void scatter(const std::vector<Number>& row, std::int64_t output, std::int64_t piece, Number* blocks) {
  const auto length = static_cast<std::int64_t>(row.size());
  for (std::int64_t begin = 0; begin < length; begin += piece) {
    std::copy_n(row.data() + begin, piece, blocks + place_in_blocks(output, begin, piece, length));
  }
}

/** Rows [begin, end), a multiple of kOutputBlock on, of `rounded` from the weight; rows behind its last are zeros. */
void round_blocks(const at::Tensor& weight, std::int64_t begin, std::int64_t end, const RoundedWeight& rounded) {
  const CpuKernels& kernels = cpu_kernels();
  const std::int64_t out = weight.size(0), in = weight.size(1), padded = filled_up(in, kIntegerStep);
  const at::Tensor wide = weight.slice(0, begin, std::min(end, out)).to(at::kFloat).contiguous();
  const std::vector<float> nothing(static_cast<std::size_t>(in));
  const auto count = [padded](std::int64_t share) { return static_cast<std::size_t>(padded / share); };
  std::vector<std::int8_t> eights(count(1));
  std::vector<std::uint16_t> fours(count(4)), scales(count(kInt4Group));
  for (std::int64_t r = begin; r < end; ++r) {
    const float* row = r < out ? wide.const_data_ptr<float>() + (r - begin) * in : nothing.data();
    if (is_int4(rounded)) {
      kernels.round_weights_int4(row, in, padded, fours.data(), scales.data());
      scatter(fours, r, kInt4Group / 4, bits(rounded.values));
      scatter(scales, r, 1, bits(rounded.scale));
    } else {
      const float scale = kernels.round_weights_int8(row, in, padded, eights.data());
      scatter(eights, r, kIntegerStep, rounded.values.data_ptr<std::int8_t>());
      if (r < out) rounded.scale.data_ptr<float>()[r] = scale;
    }
  }
}

std::int64_t block_count(const LinearTask& task) {
  return (task.end + kOutputBlock - 1) / kOutputBlock;
}

/** Blocks [begin, end) of a task's outputs, by as many rows at once as a core's cache keeps. */
void run_blocks(void (*kernel)(const LinearTask&), const LinearTask& task, std::int64_t begin, std::int64_t end,
                std::int64_t row_bytes) {
  // Whole tiles of every variant: six, five, four, three and two rows.
  const std::int64_t most = std::max<std::int64_t>(12, kRowBytes / row_bytes);
  const std::int64_t parts = (task.rows + most - 1) / most;
  const std::int64_t part = (task.rows + parts - 1) / parts;
  for (std::int64_t row = 0; row < task.rows; row += part) {
    LinearTask share = task;
    share.begin = begin * kOutputBlock;
    share.end = std::min(task.end, end * kOutputBlock);
    share.rows = std::min(part, task.rows - row);
    if (share.x != nullptr) share.x += row * task.in;
    if (share.parts != nullptr) share.parts += task.parts_per_row * row * task.stride;
    if (share.part_sums != nullptr) share.part_sums += task.parts_per_row * row;
    if (share.inputs != nullptr) share.inputs += row * task.stride;
    if (share.x_scale != nullptr) share.x_scale += row;
    share.y += row * task.y_stride;
    kernel(share);
  }
}

}  // namespace

void run_kernel(void (*kernel)(const LinearTask&), std::span<const LinearTask> tasks, std::int64_t row_bytes) {
  if (tasks.empty() || tasks.front().rows == 0) return;
  std::int64_t blocks = 0;
  for (const LinearTask& task : tasks) blocks += block_count(task);
  const std::int64_t work = tasks.front().in * tasks.front().rows * kOutputBlock;
  at::parallel_for(0, blocks, grain(work), [&](std::int64_t begin, std::int64_t end) {
    std::int64_t first = 0;
    for (const LinearTask& task : tasks) {
      const std::int64_t count = block_count(task);
      const std::int64_t from = std::max<std::int64_t>(begin - first, 0), to = std::min(end - first, count);
      if (from < to) run_blocks(kernel, task, from, to, row_bytes);
      first += count;
    }
  });
}

RoundedWeight round_weight(const at::Tensor& weight, IntegerWeights format) {
  TORCH_CHECK(weight.is_cpu(), "quantize: expected a weight on the CPU, found one on ", weight.device());
  const std::int64_t out = filled_up(weight.size(0), kOutputBlock), in = filled_up(weight.size(1), kIntegerStep);
  TORCH_CHECK(in <= kMostInputs, "quantize: expected at most ", kMostInputs, " inputs, found ", in);
  const bool int4 = format == IntegerWeights::kInt4;
  const RoundedWeight rounded{int4 ? empty_weight({out, in / 4}, at::kShort) : empty_weight({out, in}, at::kChar),
                              int4 ? at::empty({out, in / kInt4Group}, at::kBFloat16).narrow(0, 0, weight.size(0))
                                   : at::empty({weight.size(0)}, at::kFloat)};
  // A few blocks at once, so that the float32 copy of their rows is small.
  constexpr std::int64_t kBlocks = 8, kRows = kBlocks * kOutputBlock;
  const std::int64_t shares = (out + kRows - 1) / kRows;
  at::parallel_for(0, shares, grain(in * kRows), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      round_blocks(weight, i * kRows, std::min(out, (i + 1) * kRows), rounded);
    }
  });
  return rounded;
}

std::vector<at::Tensor> integer_products(const at::Tensor& x, std::span<const RoundedLayer> layers,
                                         IntegerInputs rounding) {
  const CpuKernels& kernels = cpu_kernels();
  const RoundedWeight& first = layers.front().weight;
  const bool int4 = is_int4(first);
  LinearTask inputs_only;
  inputs_only.in = first.values.size(1) * (int4 ? 4 : 1);
  inputs_only.stride = inputs_only.in + kIntegerStep;
  inputs_only.rows = x.size(0);
  inputs_only.parts_per_row = int4 ? 0 : rounding == IntegerInputs::k8Bits ? 1 : 2;
  const RoundedInputs inputs = round_inputs(x, inputs_only.in, inputs_only.stride, inputs_only.parts_per_row);
  inputs_only.x_scale = inputs.scale.const_data_ptr<float>();
  if (int4) {
    inputs_only.inputs = inputs.rounded.const_data_ptr<std::int16_t>();
  } else {
    inputs_only.parts = inputs.parts.const_data_ptr<std::int8_t>();
    inputs_only.part_sums = inputs.part_sums.const_data_ptr<std::int32_t>();
  }
  std::vector<at::Tensor> products;
  std::vector<LinearTask> tasks;
  for (const auto& [weight, bias] : layers) {
    products.push_back(at::empty({x.size(0), weight.scale.size(0)}, x.options()));
    LinearTask task = inputs_only;
    task.weight = weight.values.const_data_ptr();
    if (int4) {
      task.group_scale = bits(weight.scale);
    } else {
      task.weight_scale = weight.scale.const_data_ptr<float>();
    }
    task.bias = data_or_null(bias);
    task.end = task.y_stride = weight.scale.size(0);
    task.y = products.back().data_ptr<float>();
    tasks.push_back(task);
  }
  run_kernel(int4 ? kernels.from_int4 : kernels.from_int8, tasks,
             inputs_only.in * (inputs_only.parts_per_row == 1 ? 1 : 2));
  return products;
}

}  // namespace blip2
