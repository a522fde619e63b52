// CLIP ViT (LAVIS 1.2): a norm before the blocks, separate q, k, v projections, QuickGELU, patch convolution without
// bias. Parameter names below `vision_model.` are Hugging Face's, `pre_layrnorm` (sic) included.
#pragma once

#include <torch/nn/modules/embedding.h>
#include "blip2/nn/linear.h"

#include "blip2/nn/activation.h"
#include "blip2/vision/vision_encoder.h"

namespace blip2 {

/** One block: x + attention(LN(x)), then x + mlp(LN(x)). */
class ClipBlockImpl : public torch::nn::Module {
 public:
  explicit ClipBlockImpl(const VisionOptions& options);
  at::Tensor forward(const at::Tensor& x);

 private:
  std::int64_t heads_;
  Activation activation_;
  torch::nn::LayerNorm layer_norm1_{nullptr}, layer_norm2_{nullptr};
  Linear q_proj_{nullptr}, k_proj_{nullptr}, v_proj_{nullptr}, out_proj_{nullptr}, fc1_{nullptr}, fc2_{nullptr};
};
TORCH_MODULE(ClipBlock);

class ClipVitImpl : public VisionEncoderImpl {
 public:
  explicit ClipVitImpl(const VisionOptions& options);
  at::Tensor encode(const at::Tensor& pixels, bool interpolate = false,
                    std::vector<at::Tensor>* hidden_states = nullptr) override;

 private:
  at::Tensor class_embedding_;
  torch::nn::Conv2d patch_embedding_{nullptr};
  torch::nn::Embedding position_embedding_{nullptr};
  torch::nn::LayerNorm pre_layernorm_{nullptr};
  std::vector<ClipBlock> blocks_;
};
TORCH_MODULE(ClipVit);

}  // namespace blip2
