// `vision_config` of a model: how it is read, what it may say, and the two published encoders.
#include "blip2/core/error.h"
#include "blip2/core/size_check.h"
#include "blip2/vision/vision_encoder.h"

namespace blip2 {

void visit_fields(FieldVisitor& visitor, VisionOptions& options) {
  const std::string before = options.model_type;
  visitor.field("model_type", options.model_type);
  if (options.model_type != before && options.model_type == "clip_vision_model") {
    // What a CLIP file leaves out has CLIP's defaults.
    options.hidden_act = "quick_gelu";
    options.layer_norm_eps = 1e-5;
  }
  visitor.field("hidden_size", options.hidden_size);
  visitor.field("intermediate_size", options.intermediate_size);
  visitor.field("num_hidden_layers", options.num_hidden_layers);
  visitor.field("num_attention_heads", options.num_attention_heads);
  visitor.field("image_size", options.image_size);
  visitor.field("patch_size", options.patch_size);
  visitor.field("hidden_act", options.hidden_act);
  visitor.field("layer_norm_eps", options.layer_norm_eps);
  visitor.field("post_layer_norm_eps", options.post_layer_norm_eps);
  visitor.field("initializer_range", options.initializer_range);
  visitor.field("qkv_bias", options.qkv_bias);
}

void validate(const VisionOptions& options) {
  auto refuse = [](const std::string& what) { throw UserError("vision_config: " + what); };
  auto number = [](std::int64_t value) { return std::to_string(value); };
  if (options.hidden_size <= 0 || options.num_attention_heads <= 0 ||
      options.hidden_size % options.num_attention_heads != 0) {
    refuse("hidden_size " + number(options.hidden_size) + " must be a positive multiple of num_attention_heads " +
           number(options.num_attention_heads));
  }
  check_size("vision_config", "hidden_size", options.hidden_size);
  check_size("vision_config", "intermediate_size", options.intermediate_size);
  check_size("vision_config", "num_hidden_layers", options.num_hidden_layers, kMostLayers);
  check_size("vision_config", "image_size", options.image_size, std::int64_t{1} << 14);
  if (options.patch_size < 1 || options.image_size < options.patch_size) {
    refuse("image_size " + number(options.image_size) + " must hold at least one patch of " +
           number(options.patch_size));
  }
  check_not_negative("vision_config", "initializer_range", options.initializer_range);
  check_not_negative("vision_config", "layer_norm_eps", options.layer_norm_eps);
}

VisionOptions eva_vit_g_options() {
  return {};
}

VisionOptions clip_vit_l_options() {
  VisionOptions options;
  options.model_type = "clip_vision_model";
  options.hidden_size = 1024;
  options.intermediate_size = 4096;
  options.num_hidden_layers = 23;  // of 24
  options.hidden_act = "quick_gelu";
  options.layer_norm_eps = 1e-5;
  return options;
}

}  // namespace blip2
