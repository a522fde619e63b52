#include "blip2/models/retrieval_ranking.h"

#include <torch/torch.h>

#include "blip2/core/error.h"
#include "blip2/losses/image_text_contrastive.h"
#include "blip2/losses/image_text_matching.h"

namespace blip2 {
namespace {

constexpr double kNotRanked = -100.0;

void check(const RankingOptions& options) {
  if (options.candidates < 1) {
    throw UserError("ranking: candidates must be at least 1, found " + std::to_string(options.candidates));
  }
  if (options.pairs_at_once < 1) {
    throw UserError("ranking: pairs_at_once must be at least 1, found " + std::to_string(options.pairs_at_once));
  }
}

/** True at the `count` largest of each row; all where there are no more. */
at::Tensor best_of_rows(const at::Tensor& scores, std::int64_t count) {
  const at::Tensor best = std::get<1>(scores.topk(std::min(count, scores.size(1)), 1));
  return torch::zeros(scores.sizes(), scores.options().dtype(torch::kBool)).scatter_(1, best, true);
}

at::Tensor image_features(Blip2QFormerImpl& model, const std::vector<KeyValue>& memory, std::int64_t size) {
  QFormerInput input;
  input.query_embeds = model.query_tokens.expand({size, -1, -1});
  input.image_memory = &memory;
  return model.image_features(model.qformer->forward(input).query);
}

/** Matching logits [n] of one picture (memory of one row) and the texts of those rows. */
at::Tensor match_texts(Blip2QFormerImpl& model, const std::vector<KeyValue>& memory, const TextTokens& texts,
                       const at::Tensor& rows) {
  const TextTokens chosen{texts.ids.index_select(0, rows), texts.mask.index_select(0, rows)};
  const at::Tensor repeated = torch::zeros({rows.size(0)}, rows.options());
  return matching_logits(model.match(select_rows(memory, repeated), chosen)).select(1, 1);
}

}  // namespace

RankingScores ranking_scores(Blip2QFormerImpl& model, const at::Tensor& image_tokens, const TextTokens& texts,
                             const RankingOptions& options) {
  check(options);
  const torch::NoGradGuard no_grad;
  const std::int64_t images = image_tokens.size(0);
  const auto memory_of = [&](std::int64_t i) { return model.qformer->image_memory(image_tokens.narrow(0, i, 1)); };
  std::vector<at::Tensor> features;
  for (std::int64_t i = 0; i < images; ++i) features.push_back(image_features(model, memory_of(i), 1));
  RankingScores scores;
  scores.similarities = best_query_similarity(torch::cat(features), model.text_features(model.encode_text(texts)));

  const at::Tensor for_images = best_of_rows(scores.similarities, options.candidates),
                   for_texts = best_of_rows(scores.similarities.t(), options.candidates).t();
  at::Tensor matching = torch::full_like(scores.similarities, kNotRanked);
  for (std::int64_t i = 0; i < images; ++i) {
    const at::Tensor wanted = for_images[i].logical_or(for_texts[i]).nonzero().squeeze(1);
    const std::vector<KeyValue> memory = memory_of(i);
    for (const at::Tensor& rows : wanted.split(options.pairs_at_once)) {
      matching[i].index_copy_(0, rows, match_texts(model, memory, texts, rows));
    }
  }
  const at::Tensor score = options.add_similarity ? matching + scores.similarities : matching;
  scores.image_to_text = score.masked_fill(for_images.logical_not(), kNotRanked);
  scores.text_to_image = score.masked_fill(for_texts.logical_not(), kNotRanked).t().contiguous();
  return scores;
}

}  // namespace blip2
