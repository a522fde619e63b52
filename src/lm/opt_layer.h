// One layer of OPT (Hugging Face spec 3.5): x + attention(LN(x)), then x + fc2(relu(fc1(LN(x)))); OPT-350m norms after
// the sums instead.
#pragma once

#include "blip2/lm/kv_cache.h"
#include "blip2/lm/opt.h"
#include "blip2/nn/activation.h"
#include "lm/layers.h"

namespace blip2 {

class OptLayer {
 public:
  /** Registers the weights of layer `index` below `parent`. */
  OptLayer(torch::nn::Module& parent, std::size_t index, const OptOptions& options, const WeightOptions& weights);

  /**
   * [R, T, hidden_size] -> the same shape. With a cache, the keys and values go behind what it holds of this layer
   * and all of them are attended to, without dropout; the mask is additive and broadcasts to [R, heads, T, S].
   */
  at::Tensor forward(const at::Tensor& input, const at::Tensor& mask, KeyValueCache* cache, bool training) const;

 private:
  std::size_t index_;
  bool norm_before_;
  std::int64_t heads_;
  double scale_, dropout_, attention_dropout_;
  Activation activation_;
  Linear query_{nullptr}, key_{nullptr}, value_{nullptr}, out_{nullptr}, fc1_{nullptr}, fc2_{nullptr};
  LayerNorm self_attention_norm_, final_norm_;
};

}  // namespace blip2
