// The encoder or the decoder of T5 (Hugging Face spec 3.6): blocks that share one table of relative-position biases,
// which block 0 owns, and a final norm.
#pragma once

#include "lm/relative_position.h"
#include "lm/t5_block.h"

namespace blip2 {

/** What a pass through a stack reads beside its input. */
struct T5Pass {
  at::Tensor padding;                // of the encoder: additive [B, 1, 1, T]; undefined without padding
  KeyValueCache* cache = nullptr;    // of the decoder's self-attention, while decoding
  const T5Memory* memory = nullptr;  // of the decoder
  double dropout = 0;
  std::vector<at::Tensor>* hidden_states = nullptr;  // appended to when not null
};

class T5Stack {
 public:
  /** Registers the weights below `parent.name`. */
  T5Stack(torch::nn::Module& parent, const std::string& name, const T5Options& options, bool is_decoder,
          const WeightOptions& weights);

  /** Embeddings [R, T, d_model] -> the same shape, after the final norm. */
  at::Tensor forward(const at::Tensor& embeds, const T5Pass& pass) const;

  /** Keys and values of the encoder's output for every block of this decoder. */
  T5Memory memory(const at::Tensor& encoded, const at::Tensor& padding) const;

  std::size_t depth() const { return blocks_.size(); }
  at::ScalarType dtype() const { return position_bias_.scalar_type(); }

 private:
  at::Tensor self_mask(std::int64_t queries, std::int64_t past, const at::Tensor& padding) const;

  bool is_decoder_;
  RelativePositions positions_;
  std::vector<T5Block> blocks_;
  at::Tensor position_bias_;  // [buckets, heads]
  RmsNorm final_norm_;
};

}  // namespace blip2
