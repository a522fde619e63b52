// Hard negatives for matching (LAVIS 3, ITM): for every picture a text and for every text a picture that is not its
// own, drawn in proportion to how similar the contrastive heads find them. Sampling is apart from the loss so that
// recorded negatives can be handed in.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

namespace blip2 {

/** How similarities become weights: the rule since July 2023, or the one that released checkpoints were trained with.
 */
enum class NegativeRule {
  kMaskThenSoftmax,  // positives := -10000, then softmax
  kSoftmaxThenMask   // softmax + 1e-4, then the own sample := 0; picture ids are ignored
};

/**
 * Which of `all` gathered samples fit each of `batch` own ones, bool [batch, all]: the own sample (column first_row +
 * b) and, with ids int64 [batch] and [all], every column of the same picture.
 */
at::Tensor positive_mask(std::int64_t batch, std::int64_t all, std::int64_t first_row, const at::Tensor& ids,
                         const at::Tensor& all_ids);

/**
 * Sampling weights [B, G] from similarities [B, G] (already divided by the temperature). Masked are the
 * positives (see positive_mask). A row without any candidate left (a batch of one) gets its own sample.
 */
at::Tensor negative_weights(const at::Tensor& similarities, std::int64_t first_row, const at::Tensor& ids,
                            const at::Tensor& all_ids, NegativeRule rule = NegativeRule::kMaskThenSoftmax);

struct HardNegatives {
  at::Tensor image_rows;  // int64 [B], row among the G gathered pictures for each text
  at::Tensor text_rows;   // int64 [B], row among the G gathered texts for each picture
};

/**
 * One draw per row: pictures from `text_to_image` weights, texts from `image_to_text` weights. A row that is not finite
 * or without any weight is drawn from evenly.
 */
HardNegatives draw_hard_negatives(const at::Tensor& image_to_text_weights, const at::Tensor& text_to_image_weights,
                                  std::optional<at::Generator> generator = std::nullopt);

}  // namespace blip2
