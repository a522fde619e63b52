// What both language models do with a prompt before they read it, and with labels after.
#pragma once

#include <functional>

#include "blip2/lm/language_model.h"
#include "blip2/nn/autocast.h"

namespace blip2 {

/** The label of a position that is not learned. */
inline constexpr std::int64_t kIgnoredLabel = -100;

/** Throws (TORCH_CHECK) unless embeds are [B, T, width] and the mask is [B, T]. */
void check_prompt(const Prompt& prompt, std::int64_t width);

/** The mask that is added to scores over the keys of a padded batch: int64 [B, T] -> [B, 1, 1, T]. */
at::Tensor padding_mask(const at::Tensor& mask, at::ScalarType dtype);

/**
 * Mean cross entropy of hidden rows [B, L, width] against labels int64 [B, L]; -100 is left out, and where nothing is
 * left the loss is 0. Only rows with a label go through `head`, whose logits are the largest tensor of a training step.
 */
at::Tensor mean_token_loss(const at::Tensor& hidden, const at::Tensor& labels,
                           const std::function<at::Tensor(const at::Tensor&)>& head);

}  // namespace blip2
