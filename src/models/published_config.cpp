#include "models/published_config.h"

#include "blip2/core/config.h"

namespace blip2 {
namespace {

using nlohmann::json;

json common_config(const Blip2Options& options, const std::string& architecture, const std::string& dtype) {
  json config = write_config(options);
  config["model_type"] = "blip-2";
  config["architectures"] = {architecture};
  config["dtype"] = dtype;
  config["initializer_factor"] = 1.0;
  config["initializer_range"] = 0.02;
  config["qformer_config"]["model_type"] = "blip_2_qformer";
  json& vision = config["vision_config"];
  // A key of ours; Hugging Face has one eps for all norms.
  const double own_eps = options.vision_config.post_layer_norm_eps;
  if (own_eps < 0 || own_eps == options.vision_config.layer_norm_eps) vision.erase("post_layer_norm_eps");
  return config;
}

}  // namespace

json generator_config(const Blip2GeneratorOptions& options, const std::string& dtype) {
  json config = common_config(options, "Blip2ForConditionalGeneration", dtype);
  json text = write_config(options.text_config);
  const bool is_t5 = options.text_config.model_type == "t5";
  if (is_t5) {
    text["num_decoder_layers"] = options.text_config.t5.decoder_layers();
    text["is_encoder_decoder"] = true;
  } else {
    text["word_embed_proj_dim"] = options.text_config.opt.embedding_width();
  }
  config["text_config"] = std::move(text);
  config["use_decoder_only_language_model"] = !is_t5;
  config["is_encoder_decoder"] = is_t5;
  return config;
}

json retrieval_config(const Blip2Options& options, const std::string& dtype) {
  return common_config(options, "Blip2ForImageTextRetrieval", dtype);
}

json generation_config(const LanguageModelOptions& options) {
  json config = {{"_from_model_config", true}};
  const json text = write_config(options);
  for (const char* key : {"bos_token_id", "decoder_start_token_id", "eos_token_id", "pad_token_id"}) {
    if (text.contains(key) && !text[key].is_null()) config[key] = text[key];
  }
  return config;
}

json preprocessor_config(const ImageTransformOptions& transform) {
  return {{"do_convert_rgb", true},
          {"do_normalize", true},
          {"do_rescale", true},
          {"do_resize", true},
          {"image_mean", transform.mean},
          {"image_std", transform.std},
          {"image_processor_type", "BlipImageProcessor"},
          {"processor_class", "Blip2Processor"},
          {"resample", 3},
          {"rescale_factor", 1.0 / 255.0},
          {"size", {{"height", transform.image_size}, {"width", transform.image_size}}}};
}

json processor_config(std::optional<std::int64_t> num_query_tokens) {
  json config = {{"processor_class", "Blip2Processor"}};
  if (num_query_tokens) config["num_query_tokens"] = *num_query_tokens;
  return config;
}

}  // namespace blip2
