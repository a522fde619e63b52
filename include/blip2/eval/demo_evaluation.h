// The demo's examination: pictures whose pairs of objects training never showed are matched with texts and captioned.
#pragma once

#include <functional>
#include <string>

#include "blip2/eval/object_naming.h"
#include "blip2/eval/report.h"
#include "blip2/eval/retrieval.h"

namespace blip2 {

struct DemoEvaluationOptions {
  std::string stage1, stage2;  // run folders
  std::string language_model;  // run folder, for its curve
  std::string annotations;     // held-out pictures with "objects"
  std::int64_t rerank = 16;    // texts per picture that the matching head ranks again
  std::int64_t examples = 24;  // captions shown
};

struct DemoEvaluation {
  RetrievalScores by_contrast;  // contrastive similarity alone
  RetrievalScores reranked;     // matching head over the best by contrast (LAVIS 5.5)
  NamingScores naming;
  std::int64_t pictures = 0;
  Report report;  // everything but figures that the caller knows (times)
};

/** Throws UserError when a folder or the annotations are not what they should be, or a picture has no "objects". */
DemoEvaluation evaluate_demo(const DemoEvaluationOptions& options);

/**
 * LAVIS's two-step ranking: of the `best` texts of each picture by `similarity` [I, T], the score is the matching logit
 * plus the similarity; all others get -100. `match(picture, texts)` gives the logits [K] of texts int64 [K].
 */
at::Tensor rerank_by_matching(const at::Tensor& similarity, std::int64_t best,
                              const std::function<at::Tensor(std::int64_t, const at::Tensor&)>& match);

}  // namespace blip2
