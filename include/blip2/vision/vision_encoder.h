// The image encoder: a ViT that turns a picture into tokens. Two architectures exist, EVA-CLIP ViT-g (eva_vit.h) and
// CLIP ViT-L (clip_vit.h), both without their last block, since BLIP-2 reads the second-to-last layer. The tower is
// frozen; only the LayerNorm after it (`post_layernorm`, LAVIS's `ln_vision`) always learns.
#pragma once

#include <torch/nn/module.h>
#include <torch/nn/modules/normalization.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "blip2/core/field_visitor.h"

namespace blip2 {

/** `vision_config` of a Hugging Face config.json; the defaults are ViT-g/14 as BLIP-2 uses it. */
struct VisionOptions {
  std::string model_type = "blip_2_vision_model";  // or "clip_vision_model"
  std::int64_t hidden_size = 1408;
  std::int64_t intermediate_size = 6144;  // int(1408 * 4.3637)
  std::int64_t num_hidden_layers = 39;    // 40 in the published tower, the last one is not used
  std::int64_t num_attention_heads = 16;
  std::int64_t image_size = 224;
  std::int64_t patch_size = 14;
  std::string hidden_act = "gelu";
  double layer_norm_eps = 1e-6;
  double post_layer_norm_eps = -1;  // of post_layernorm; negative: layer_norm_eps. LAVIS has 1e-5
  double initializer_range = 0.02;
  bool qkv_bias = true;

  std::int64_t num_patches() const { return (image_size / patch_size) * (image_size / patch_size); }
};

void visit_fields(FieldVisitor& visitor, VisionOptions& options);

/** Throws UserError naming the field that makes no sense. */
void validate(const VisionOptions& options);

/** EVA-CLIP ViT-g/14: 39 blocks, width 1408, 985,894,528 parameters at 224 (LAVIS 1.1). */
VisionOptions eva_vit_g_options();
/** CLIP ViT-L/14: 23 blocks, width 1024, 290,581,504 parameters at 224 (LAVIS 1.2). */
VisionOptions clip_vit_l_options();

class VisionEncoderImpl : public torch::nn::Module {
 public:
  /**
   * Image tokens after the tower and post_layernorm: pixels [B, 3, S, S] -> [B, 1 + (S / patch)^2, hidden_size], class
   * token first. A frozen tower runs without recording gradients. With `interpolate`, other sizes than the configured
   * one are accepted and the position table is resized; otherwise they throw.
   */
  at::Tensor forward(const at::Tensor& pixels, bool interpolate = false);

  /** The tower alone, before post_layernorm. Appends the input of every block and the raw output to `hidden_states`. */
  virtual at::Tensor encode(const at::Tensor& pixels, bool interpolate = false,
                            std::vector<at::Tensor>* hidden_states = nullptr) = 0;

  /** No gradients for the tower from now on; post_layernorm goes on learning. */
  void freeze();
  bool frozen() const { return frozen_; }
  /** A frozen tower stays in evaluation mode. */
  void train(bool on = true) override;

  const VisionOptions& options() const { return options_; }

  torch::nn::LayerNorm post_layernorm{nullptr};

 protected:
  explicit VisionEncoderImpl(const VisionOptions& options);
  /** Registers what comes last, so that parameters keep the order of the forward pass. */
  void register_post_layernorm();
  /** Throws when `pixels` is no [B, 3, H, W] of a size that the encoder takes. */
  void check_pixels(const at::Tensor& pixels, bool interpolate) const;

  VisionOptions options_;

 private:
  bool frozen_ = false;
};

/** The architecture that `options.model_type` names. Throws UserError for another name. */
std::shared_ptr<VisionEncoderImpl> make_vision_encoder(const VisionOptions& options);

}  // namespace blip2
