#include "blip2/vision/vision_encoder.h"

#include <torch/torch.h>

#include "blip2/core/error.h"
#include "blip2/vision/clip_vit.h"
#include "blip2/vision/eva_vit.h"

namespace blip2 {

VisionEncoderImpl::VisionEncoderImpl(const VisionOptions& options) : options_(options) {
  validate(options_);
}

void VisionEncoderImpl::register_post_layernorm() {
  const double eps = options_.post_layer_norm_eps < 0 ? options_.layer_norm_eps : options_.post_layer_norm_eps;
  post_layernorm = register_module("post_layernorm",
                                   torch::nn::LayerNorm(torch::nn::LayerNormOptions({options_.hidden_size}).eps(eps)));
}

void VisionEncoderImpl::check_pixels(const at::Tensor& pixels, bool interpolate) const {
  TORCH_CHECK(pixels.dim() == 4 && pixels.size(1) == 3, "vision encoder: expected pixels [B, 3, H, W], got ",
              pixels.sizes());
  const bool as_configured = pixels.size(2) == options_.image_size && pixels.size(3) == options_.image_size;
  const bool holds_patch = pixels.size(2) >= options_.patch_size && pixels.size(3) >= options_.patch_size;
  TORCH_CHECK(as_configured || (interpolate && holds_patch), "vision encoder: expected pictures of ",
              options_.image_size, "x", options_.image_size, " pixels, got ", pixels.size(2), "x", pixels.size(3),
              "; resize them or ask for interpolated positions");
}

at::Tensor VisionEncoderImpl::forward(const at::Tensor& pixels, bool interpolate) {
  at::Tensor tokens;
  {
    // NoGradGuard and not InferenceMode: the tokens enter a LayerNorm that learns.
    torch::AutoGradMode record(torch::GradMode::is_enabled() && !frozen_);
    tokens = encode(pixels, interpolate);
  }
  return post_layernorm(tokens);
}

void VisionEncoderImpl::freeze() {
  frozen_ = true;
  for (auto& parameter : parameters()) parameter.requires_grad_(false);
  for (auto& parameter : post_layernorm->parameters()) parameter.requires_grad_(true);
  train(false);
}

void VisionEncoderImpl::train(bool on) {
  torch::nn::Module::train(on && !frozen_);
}

std::shared_ptr<VisionEncoderImpl> make_vision_encoder(const VisionOptions& options) {
  if (options.model_type == "blip_2_vision_model") return EvaVit(options).ptr();
  if (options.model_type == "clip_vision_model") return ClipVit(options).ptr();
  throw UserError("vision_config: unknown model_type '" + options.model_type +
                  "', expected blip_2_vision_model or clip_vision_model");
}

}  // namespace blip2
