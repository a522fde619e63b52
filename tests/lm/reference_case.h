// The reference cases of tests/data/lm (scripts/make_lm_test_data.py): a language model's config and weights, prompts
// as ids with the projected image tokens to put at the image ids, and what Hugging Face computes from them.
#pragma once

#include <torch/torch.h>

#include <string>

#include "blip2/core/config.h"
#include "blip2/lm/language_model.h"
#include "support/reference.h"

namespace blip2 {

/** The slices of `actual` that the reference kept of one dimension. */
inline at::Tensor every(const at::Tensor& actual, std::int64_t dimension, std::int64_t step) {
  return actual.slice(dimension, 0, std::nullopt, step);
}

struct ReferenceCase {
  explicit ReferenceCase(const std::string& name)
      : config(load_json(test_data("lm/" + name + "/config.json"))),
        weights(load_safetensors(test_data("lm/" + name + "/model.safetensors"))),
        tensors(load_safetensors(test_data("lm/" + name + "/case.safetensors"))) {}

  /** A text_config of one kind. */
  template <typename Options>
  Options options() const {
    Options options;
    read_config(config.at("text_config"), options, "config.json", UnknownKeys::kIgnore);
    return options;
  }

  /** The prompt of "forward.left" or "forward.right". */
  Prompt prompt(LanguageModel& model, const std::string& run) const {
    const at::Tensor ids = tensors.at(run + ".input_ids");
    const at::Tensor image = ids.eq(config.at("image_token_index").get<std::int64_t>());
    at::Tensor embeds = model.embed(ids.masked_fill(image, 0));
    const at::Tensor projected = tensors.at("projected_tokens").to(embeds.scalar_type());
    embeds = embeds.masked_scatter(image.unsqueeze(-1).expand_as(embeds), projected);
    return {embeds, tensors.at(run + ".attention_mask")};
  }

  const at::Tensor& at(const std::string& name) const { return tensors.at(name); }

  nlohmann::json config;
  NamedTensors weights, tensors;
};

/** Rows where the mask is 1, [n, ...]: what padding computes means nothing. */
inline at::Tensor read_rows(const at::Tensor& x, const at::Tensor& mask) {
  return x.flatten(0, 1).index_select(0, mask.flatten().nonzero().squeeze(1));
}

inline std::int64_t count_parameters(const torch::nn::Module& module) {
  std::int64_t sum = 0;
  for (const auto& parameter : module.parameters()) sum += parameter.numel();
  return sum;
}

/** A LAVIS case of stage 2: its text_config, weights and expected tensors, with the thinned logits beside them. */
struct LavisCase {
  LavisCase(const std::string& model, const std::string& name)
      : config(load_json(test_data("models/" + model + "/config.json")).at("text_config")),
        weights(load_safetensors(test_data("models/" + model + "/model.safetensors"))),
        expected(load_safetensors(test_data("models/" + name + "/expected.safetensors"))),
        logits(load_safetensors(test_data("lm/" + name + "_logits.safetensors")).at("logits")) {}

  nlohmann::json config;
  NamedTensors weights, expected;
  at::Tensor logits;
};

}  // namespace blip2
