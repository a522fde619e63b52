#include "blip2/train/layer_decay.h"

#include <charconv>
#include <cmath>

#include "blip2/core/error.h"

namespace blip2 {
namespace {

constexpr const char* kVision = "vision_model.";
constexpr const char* kBlocks = "encoder.layers.";

}  // namespace

std::int64_t vision_layer(const std::string& name, const VisionOptions& options) {
  if (name.starts_with("post_layernorm.")) return -1;
  if (!name.starts_with(kBlocks)) return 0;
  const std::string rest = name.substr(std::string(kBlocks).size());
  std::int64_t block = -1;
  const auto read = std::from_chars(rest.data(), rest.data() + rest.size(), block);
  TORCH_CHECK(read.ec == std::errc() && block >= 0 && block < options.num_hidden_layers, "layer decay: '", name,
              "' is no parameter of an image encoder of ", options.num_hidden_layers, " blocks");
  return block + 1;
}

AdamW::LearningRateScale vision_layer_decay(const VisionOptions& options, double decay) {
  if (!(decay > 0 && decay <= 1)) {
    throw UserError("'layer_decay' must be above 0 and at most 1, found " + std::to_string(decay));
  }
  return [options, decay](const std::string& name) {
    if (!name.starts_with(kVision)) return 1.0;
    const std::int64_t layer = vision_layer(name.substr(std::string(kVision).size()), options);
    if (layer < 0) return 1.0;
    return std::pow(decay, static_cast<double>(options.num_hidden_layers + 1 - layer));
  };
}

}  // namespace blip2
