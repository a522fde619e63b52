// Retrieval metrics (LAVIS 5.5): recall at 1, 5 and 10 from a matrix of scores, in both directions.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace blip2 {

/** Shares in [0, 1] of queries whose best right answer is among the first 1, 5, 10. */
struct Recall {
  double recall_at_1 = 0, recall_at_5 = 0, recall_at_10 = 0;
};

struct RetrievalScores {
  Recall image_to_text, text_to_image;
};

/**
 * `scores` [images, texts], higher is more alike; a text belongs to every image with an equal id. Ties count against
 * the right answer, so that equal scores for everything are no success. Throws (TORCH_CHECK) when sizes do not fit.
 */
RetrievalScores retrieval_scores(const at::Tensor& scores, const std::vector<std::int64_t>& image_ids,
                                 const std::vector<std::int64_t>& text_ids);

/** The same where the directions have scores of their own: [images, texts] and [texts, images]. */
RetrievalScores retrieval_scores(const at::Tensor& image_to_text, const at::Tensor& text_to_image,
                                 const std::vector<std::int64_t>& image_ids, const std::vector<std::int64_t>& text_ids);

}  // namespace blip2
