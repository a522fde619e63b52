#include "blip2/nn/attention.h"

#include <torch/torch.h>

#include <limits>

#include "blip2/nn/autocast.h"
#include "blip2/nn/dropout.h"

namespace blip2 {
namespace {

double lowest_of(at::ScalarType dtype) {
  return AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, dtype, "lowest_of",
                                         [] { return static_cast<double>(std::numeric_limits<scalar_t>::lowest()); });
}

}  // namespace

at::Tensor split_heads(const at::Tensor& x, std::int64_t heads) {
  return x.view({x.size(0), x.size(1), heads, x.size(2) / heads}).transpose(1, 2);
}

at::Tensor merge_heads(const at::Tensor& x) {
  return x.transpose(1, 2).reshape({x.size(0), x.size(2), x.size(1) * x.size(3)});
}

at::Tensor additive_mask(const at::Tensor& visible, at::ScalarType dtype) {
  return at::zeros(visible.sizes(), visible.options().dtype(dtype)).masked_fill_(visible.eq(0), lowest_of(dtype));
}

at::Tensor attention(const at::Tensor& query, const KeyValue& memory, const at::Tensor& mask, double scale,
                     double dropout) {
  if (dropout > 0) {  // no fused kernel drops on a CPU
    const at::Tensor probabilities = attention_probabilities(query, memory.key, mask, scale);
    return at::matmul(blip2::dropout(probabilities, dropout), memory.value);
  }
  std::optional<at::Tensor> bias;
  if (mask.defined()) {
    // Narrowed, the lowest finite float32 would be -inf, and NaN in a row that sees nothing.
    const at::ScalarType dtype = product_dtype(query);
    bias = dtype == mask.scalar_type() ? mask : mask.clamp_min(lowest_of(dtype)).to(dtype);
  }
  return at::scaled_dot_product_attention(query, memory.key, memory.value, bias, 0.0, /*is_causal=*/false, scale);
}

at::Tensor attention_probabilities(const at::Tensor& query, const at::Tensor& key, const at::Tensor& mask,
                                   double scale) {
  at::Tensor scores = at::matmul(query * scale, key.transpose(-1, -2));
  if (mask.defined()) scores = scores + mask;
  return scores.softmax(-1);
}

}  // namespace blip2
