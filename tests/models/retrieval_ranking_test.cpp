// What the reference cases do not say about ranking and captions of the Q-Former; their numbers are in tests/trace.
#include "blip2/models/retrieval_ranking.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "blip2/models/qformer_language_model.h"
#include "support/expect_error.h"

namespace blip2 {
namespace {

Blip2QFormer small_model() {
  Blip2Options options;
  options.vision_config.hidden_size = 12;
  options.vision_config.intermediate_size = 16;
  options.vision_config.num_hidden_layers = 1;
  options.vision_config.num_attention_heads = 2;
  options.vision_config.image_size = 28;
  options.qformer_config.hidden_size = 16;
  options.qformer_config.num_hidden_layers = 2;
  options.qformer_config.num_attention_heads = 2;
  options.qformer_config.intermediate_size = 20;
  options.qformer_config.vocab_size = 11;
  options.qformer_config.max_position_embeddings = 12;
  options.num_query_tokens = 3;
  options.image_text_hidden_size = 6;
  torch::manual_seed(1);
  Blip2QFormer model(options);
  model->eval();
  return model;
}

TextTokens five_texts() {
  return {torch::randint(1, 11, {5, 4}, torch::kLong), torch::ones({5, 4}, torch::kLong)};
}

TEST(RankingScores, MoreCandidatesThanThereAreMatchEverything) {
  Blip2QFormer model = small_model();
  const at::Tensor tokens = torch::randn({3, 5, 12});
  const TextTokens texts = five_texts();
  const RankingScores scores = ranking_scores(*model, tokens, texts, {.candidates = 100, .pairs_at_once = 2});
  EXPECT_GT(scores.image_to_text.min().item<double>(), -50);
  EXPECT_TRUE(torch::allclose(scores.image_to_text, scores.text_to_image.t()));
  const RankingScores matching = ranking_scores(*model, tokens, texts, {.candidates = 100, .add_similarity = false});
  EXPECT_TRUE(torch::allclose(matching.image_to_text + scores.similarities, scores.image_to_text, 1e-5, 1e-5));
}

TEST(RankingScores, FewCandidatesAreTheMostSimilar) {
  Blip2QFormer model = small_model();
  const RankingScores scores = ranking_scores(*model, torch::randn({3, 5, 12}), five_texts(), {.candidates = 1});
  EXPECT_TRUE(torch::equal(scores.image_to_text.argmax(1), scores.similarities.argmax(1)));
  EXPECT_EQ(scores.image_to_text.eq(-100).sum().item<std::int64_t>(), 3 * 4);
  EXPECT_EQ(scores.text_to_image.eq(-100).sum().item<std::int64_t>(), 5 * 2);
}

TEST(RankingScores, RefusesOptionsThatMakeNoSense) {
  Blip2QFormer model = small_model();
  EXPECT_USER_ERROR(ranking_scores(*model, torch::randn({3, 5, 12}), five_texts(), {.candidates = 0}),
                    "ranking: candidates must be at least 1, found 0");
  EXPECT_USER_ERROR(ranking_scores(*model, torch::randn({3, 5, 12}), five_texts(), {.pairs_at_once = 0}),
                    "ranking: pairs_at_once must be at least 1, found 0");
}

TEST(QFormerLanguageModel, StepsEqualAPassOverTheWholeText) {
  Blip2QFormer model = small_model();
  const torch::NoGradGuard no_grad;
  const ImageQueries image = model->encode_image(torch::randn({2, 3, 28, 28}));
  QFormerLanguageModel writer(model, image.self_attention_memory, {0, 10, 4, -1});
  const at::Tensor ids = torch::tensor({{10, 3, 7}, {10, 5, 2}}, torch::kLong);
  const TextTokens whole{ids, torch::ones_like(ids)};
  const at::Tensor logits = model->generation_logits(image.self_attention_memory, whole);
  auto [state, first] = writer.begin({writer.embed(ids.narrow(1, 0, 1)), torch::ones({2, 1}, torch::kLong)});
  EXPECT_TRUE(torch::allclose(first, logits.select(1, 0), 1e-5, 1e-5));
  EXPECT_TRUE(torch::allclose(writer.step(*state, ids.select(1, 1)), logits.select(1, 1), 1e-5, 1e-5));
  state->reorder(torch::tensor({1, 0}, torch::kLong));
  const at::Tensor swapped = writer.step(*state, ids.select(1, 2).flip(0));
  EXPECT_TRUE(torch::allclose(swapped.flip(0), logits.select(1, 2), 1e-5, 1e-5));

  const at::Tensor labels = torch::tensor({{10, 3, 7}, {10, 5, -100}}, torch::kLong);
  const at::Tensor log_probabilities = logits.log_softmax(2);
  const double expected =
      -(log_probabilities[0][0][3] + log_probabilities[0][1][7] + log_probabilities[1][0][5]).item<double>() / 3;
  EXPECT_NEAR(writer.loss({writer.embed(ids), torch::ones_like(ids)}, labels).item<double>(), expected, 1e-5);
}

}  // namespace
}  // namespace blip2
