// ITC (paper section 3.1, LAVIS 3): pulls a picture's queries and its caption together. The similarity of a picture and
// a text is the best of the picture's queries; keys are gathered over the ranks and carry no gradient.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace blip2 {

struct ContrastiveInput {
  at::Tensor image_features;      // [B, Q, E], L2-normalised, with gradient
  at::Tensor text_features;       // [B, E], L2-normalised, with gradient
  at::Tensor all_image_features;  // [G, Q, E] of all ranks, detached
  at::Tensor all_text_features;   // [G, E] of all ranks, detached
  at::Tensor temperature;         // scalar, divides the similarities
  std::int64_t first_row = 0;     // where this rank's B rows begin in the G gathered ones
  /** Optional picture ids, int64 [B] and [G]: all texts of the same picture are positives. */
  at::Tensor image_ids, all_image_ids;
};

struct ContrastiveLoss {
  at::Tensor loss;           // scalar
  at::Tensor image_to_text;  // [B, G] similarities / temperature
  at::Tensor text_to_image;  // [B, G]
};

/**
 * What each own sample should find among the gathered ones, [batch, all], rows that sum to one: evenly its positives
 * (see positive_mask), and of `label_smoothing` everything.
 */
at::Tensor contrastive_targets(const at::Tensor& positives, double label_smoothing, at::ScalarType dtype);

/** Mean of both directions' cross entropy with `label_smoothing` (LAVIS has 0.1). */
ContrastiveLoss image_text_contrastive(const ContrastiveInput& input, double label_smoothing = 0.1);

/** max over queries of image_features [B, Q, E] . text_features [G, E] -> [B, G]. */
at::Tensor best_query_similarity(const at::Tensor& image_features, const at::Tensor& text_features);

}  // namespace blip2
