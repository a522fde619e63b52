#include "lm/t5_stack.h"

#include <torch/torch.h>

#include <cmath>

#include "blip2/nn/activation_checkpointing.h"

namespace blip2 {

T5Stack::T5Stack(torch::nn::Module& parent, const std::string& name, const T5Options& options, bool is_decoder,
                 const WeightOptions& weights)
    : is_decoder_(is_decoder),
      positions_{options.relative_attention_num_buckets, options.relative_attention_max_distance, !is_decoder} {
  auto& own = add_child(parent, name);
  auto& list = add_child(own, "block");
  const auto depth = static_cast<std::size_t>(is_decoder ? options.decoder_layers() : options.num_layers);
  for (std::size_t i = 0; i < depth; ++i) blocks_.emplace_back(list, i, options, is_decoder, weights);
  auto first_attention = list.named_modules()["0.layer.0.SelfAttention"];
  position_bias_ =
      add_table(*first_attention, "relative_attention_bias", options.relative_attention_num_buckets, options.num_heads,
                options.initializer_factor / std::sqrt(static_cast<double>(options.d_model)), weights);
  final_norm_ = add_rms_norm(own, "final_layer_norm", options.d_model, options.layer_norm_epsilon,
                             options.initializer_factor, weights);
  final_norm_.float32_variance = options.float32_variance;
}

at::Tensor T5Stack::self_mask(std::int64_t queries, std::int64_t past, const at::Tensor& padding) const {
  const std::int64_t keys = past + queries;
  const at::Tensor buckets = relative_position_buckets(positions_, queries, keys, past).to(position_bias_.device());
  at::Tensor mask = at::embedding(position_bias_, buckets).permute({2, 0, 1}).unsqueeze(0);  // [1, heads, T, S]
  if (is_decoder_ && queries > 1) {
    const at::Tensor earlier = at::ones({queries, keys}, buckets.options().dtype(at::kBool)).tril(past);
    mask = mask + additive_mask(earlier, mask.scalar_type());
  }
  return padding.defined() ? mask + padding : mask;
}

at::Tensor T5Stack::forward(const at::Tensor& embeds, const T5Pass& pass) const {
  const std::int64_t past = pass.cache != nullptr ? pass.cache->length() : 0;
  T5BlockInput with;
  with.self_mask = self_mask(embeds.size(1), past, pass.padding);
  with.cache = pass.cache;
  with.dropout = pass.dropout;
  if (pass.memory != nullptr) {
    with.memory_mask = pass.memory->mask;
    with.readers_of_each = pass.memory->readers_of_each;
  }
  const bool training = pass.dropout > 0;
  at::Tensor x = at::dropout(embeds, pass.dropout, training);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    if (pass.hidden_states != nullptr) pass.hidden_states->push_back(x);
    const KeyValue memory = pass.memory != nullptr ? pass.memory->layers.at(i) : KeyValue();
    const auto forward = [block = &blocks_[i], with](const std::vector<at::Tensor>& inputs) {
      T5BlockInput own = with;
      const KeyValue read{inputs[2], inputs[3]};
      own.self_mask = inputs[1];
      own.memory = read.key.defined() ? &read : nullptr;
      return block->forward(inputs[0], own);
    };
    x = checkpointed({x, with.self_mask, memory.key, memory.value}, forward);
  }
  x = at::dropout(final_norm_(x), pass.dropout, training);
  if (pass.hidden_states != nullptr) pass.hidden_states->push_back(x);
  return x;
}

T5Memory T5Stack::memory(const at::Tensor& encoded, const at::Tensor& padding) const {
  T5Memory memory;
  memory.mask = padding;
  for (const auto& block : blocks_) memory.layers.push_back(block.memory(encoded));
  return memory;
}

}  // namespace blip2
