// LAVIS's reference of stage 1 (reference cases stage1_*): model, batch and settings, and what its losses must be.
#pragma once

#include "blip2/core/config.h"
#include "blip2/models/blip2_qformer.h"
#include "support/reference.h"

namespace blip2 {

inline constexpr std::int64_t kDecoderStart = 172;

inline Blip2Options reference_options() {
  Blip2Options options;
  read_config(load_json(test_data("models/stage1_model/config.json")), options, "config.json", UnknownKeys::kIgnore);
  return options;
}

inline Blip2QFormer reference_model(bool frozen_vision = true) {
  Blip2QFormer model(reference_options());
  fill_parameters(*model, load_safetensors(test_data("models/stage1_model/model.safetensors")));
  model->to(torch::kDouble);
  if (frozen_vision) model->vision_model->freeze();
  return model;
}

inline RepresentationBatch reference_batch() {
  const NamedTensors inputs = load_safetensors(test_data("models/stage1_forward/inputs.safetensors"));
  RepresentationBatch batch;
  batch.pixels = inputs.at("image").to(torch::kDouble);
  batch.text = {inputs.at("input_ids"), inputs.at("attention_mask")};
  return batch;
}

inline RepresentationOptions reference_settings(const NamedTensors& expected) {
  RepresentationOptions options;
  options.decoder_start_id = kDecoderStart;
  options.negatives = HardNegatives{expected.at("neg_image_idx"), expected.at("neg_text_idx")};
  return options;
}

inline void expect_losses(const RepresentationLosses& losses, const NamedTensors& expected,
                          const std::string& prefix = "") {
  expect_close(losses.contrastive, expected.at(prefix + "loss_itc"), 1e-6, "loss_itc");
  expect_close(losses.matching, expected.at(prefix + "loss_itm"), 1e-6, "loss_itm");
  expect_close(losses.generation, expected.at(prefix + "loss_lm"), 1e-6, "loss_lm");
  expect_close(losses.total, expected.at(prefix + "loss"), 1e-6, "loss");
}

}  // namespace blip2
