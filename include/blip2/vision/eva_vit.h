// EVA-CLIP ViT (LAVIS 1.1): pre-norm blocks, one fused qkv projection, exact GELU, absolute positions, no final norm.
// Parameter names below `vision_model.` are Hugging Face's.
#pragma once

#include <torch/nn/modules/container/modulelist.h>
#include "blip2/nn/linear.h"

#include "blip2/nn/activation.h"
#include "blip2/vision/vision_encoder.h"

namespace blip2 {

/** One block: x + attention(LN(x)), then x + mlp(LN(x)). */
class EvaBlockImpl : public torch::nn::Module {
 public:
  explicit EvaBlockImpl(const VisionOptions& options);
  at::Tensor forward(const at::Tensor& x);

 private:
  std::int64_t heads_;
  Activation activation_;
  torch::nn::LayerNorm layer_norm1_{nullptr}, layer_norm2_{nullptr};
  Linear qkv_{nullptr}, projection_{nullptr}, fc1_{nullptr}, fc2_{nullptr};
};
TORCH_MODULE(EvaBlock);

class EvaVitImpl : public VisionEncoderImpl {
 public:
  explicit EvaVitImpl(const VisionOptions& options);
  at::Tensor encode(const at::Tensor& pixels, bool interpolate = false,
                    std::vector<at::Tensor>* hidden_states = nullptr) override;

  /** The position table [1, 1 + rows * columns, D] for a picture of H x W pixels. */
  at::Tensor position_embedding(std::int64_t height, std::int64_t width) const;

 private:
  at::Tensor class_embedding_, position_embedding_;
  torch::nn::Conv2d patch_embedding_{nullptr};
  std::vector<EvaBlock> blocks_;
};
TORCH_MODULE(EvaVit);

}  // namespace blip2
