// Retrieval as BLIP-2 does it (paper section 4.3, LAVIS 5.5): contrast compares everything with everything cheaply,
// then matching looks closely at the best of it, in both directions. A pair that both directions want is looked at
// once.
#pragma once

#include "blip2/models/blip2_qformer.h"

namespace blip2 {

struct RankingOptions {
  std::int64_t candidates = 128;  // LAVIS's k_test: how many of each query's best are matched
  /** LAVIS adds the similarity to the matching logit; the paper ranks by matching alone. */
  bool add_similarity = true;
  std::int64_t pairs_at_once = 64;
};

struct RankingScores {
  at::Tensor similarities;   // [I, T], best query of the picture; no temperature
  at::Tensor image_to_text;  // [I, T], matching logit (plus similarity) of each picture's candidates, the rest -100
  at::Tensor text_to_image;  // [T, I]
};

/**
 * Scores of I pictures, as image tokens [I, N, D] of the image encoder, and T texts [T, L]. No gradients are recorded.
 * Throws UserError for options that make no sense.
 */
RankingScores ranking_scores(Blip2QFormerImpl& model, const at::Tensor& image_tokens, const TextTokens& texts,
                             const RankingOptions& options = {});

}  // namespace blip2
