#include "blip2/models/blip2_qformer.h"

#include <torch/torch.h>

#include "blip2/losses/image_grounded_text.h"
#include "blip2/losses/image_text_contrastive.h"
#include "blip2/losses/image_text_matching.h"
#include "blip2/qformer/attention_mask.h"

namespace blip2 {
namespace {

at::Tensor l2_normalize(const at::Tensor& x) {
  return torch::nn::functional::normalize(x, torch::nn::functional::NormalizeFuncOptions().dim(-1));
}

at::Tensor gather_ids(const at::Tensor& ids, const std::shared_ptr<ProcessGroup>& group) {
  return ids.defined() ? group->all_gather(ids) : ids;
}

Blip2Options resolved(Blip2Options options) {
  options.qformer_config.use_qformer_text_input = true;  // stage 1 always reads text
  resolve(options);
  return options;
}

}  // namespace

Blip2QFormerImpl::Blip2QFormerImpl(const Blip2Options& options) : options_(resolved(options)) {
  const auto& qformer_options = options_.qformer_config;
  const std::int64_t width = qformer_options.hidden_size;
  vision_model = register_module("vision_model", make_vision_encoder(options_.vision_config));
  query_tokens = register_parameter("query_tokens", torch::empty({1, options_.num_query_tokens, width}));
  embeddings = register_module("embeddings", TextEmbeddings(qformer_options));
  qformer = register_module("qformer", QFormer(qformer_options));
  vision_projection = register_module("vision_projection", Linear(width, options_.image_text_hidden_size));
  text_projection = register_module("text_projection", Linear(width, options_.image_text_hidden_size));
  itm_head = register_module("itm_head", Linear(width, 2));
  itg_head = register_module("itg_head", ItgHead(qformer_options));
  temperature = register_parameter("temperature", torch::tensor(0.07));
  if (SkipInitialization::active()) return;
  torch::NoGradGuard no_grad;
  torch::nn::init::normal_(query_tokens, 0.0, qformer_options.initializer_range);
  qformer->copy_text_feed_forward_to_queries();
}

ImageQueries Blip2QFormerImpl::encode_image(const at::Tensor& pixels, QFormerTrace* trace) {
  return encode_image_tokens(vision_model->forward(pixels), trace);
}

ImageQueries Blip2QFormerImpl::encode_image_tokens(const at::Tensor& image_tokens, QFormerTrace* trace) {
  ImageQueries image;
  image.image_tokens = image_tokens;
  image.image_memory = qformer->image_memory(image.image_tokens);
  QFormerInput input;
  input.query_embeds = expand_queries(image_tokens.size(0));
  input.image_memory = &image.image_memory;
  QFormerOutput output = qformer->forward(input, trace);
  image.query_output = std::move(output.query);
  image.self_attention_memory = std::move(output.self_attention_memory);
  return image;
}

at::Tensor Blip2QFormerImpl::image_features(const at::Tensor& query_output) {
  return l2_normalize(vision_projection(query_output));
}

at::Tensor Blip2QFormerImpl::encode_text(const TextTokens& text, QFormerTrace* trace) {
  QFormerInput input;
  input.text_embeds = embeddings(text.ids);
  input.self_mask = additive_mask(unimodal_mask(text.mask, /*num_queries=*/0), query_tokens.scalar_type());
  return qformer->forward(input, trace).text;
}

at::Tensor Blip2QFormerImpl::text_features(const at::Tensor& text_output) {
  return l2_normalize(text_projection(text_output.select(1, 0)));
}

at::Tensor Blip2QFormerImpl::text_token_features(const at::Tensor& text_output) {
  return l2_normalize(text_projection(text_output));
}

at::Tensor Blip2QFormerImpl::encode_pair(const std::vector<KeyValue>& image_memory, const TextTokens& text,
                                         QFormerTrace* trace) {
  return encode_pair_embeds(image_memory, embeddings(text.ids), text.mask, trace);
}

at::Tensor Blip2QFormerImpl::encode_pair_embeds(const std::vector<KeyValue>& image_memory,
                                                const at::Tensor& text_embeds, const at::Tensor& text_mask,
                                                QFormerTrace* trace) {
  QFormerInput input;
  input.query_embeds = expand_queries(text_embeds.size(0));
  input.text_embeds = text_embeds;
  // Every row sees the same, so that one row of the mask serves all.
  const at::Tensor visible = bidirectional_mask(text_mask, options_.num_query_tokens).slice(2, 0, 1);
  input.self_mask = additive_mask(visible, query_tokens.scalar_type());
  input.image_memory = &image_memory;
  input.text_mask = text_mask;
  input.text_wanted = false;
  return qformer->forward(input, trace).query;
}

at::Tensor Blip2QFormerImpl::match(const std::vector<KeyValue>& image_memory, const TextTokens& text,
                                   QFormerTrace* trace) {
  return itm_head(encode_pair(image_memory, text, trace));
}

at::Tensor Blip2QFormerImpl::generation_logits(const std::vector<KeyValue>& query_memory, const TextTokens& text,
                                               QFormerTrace* trace) {
  const std::int64_t queries = options_.num_query_tokens, length = text.ids.size(1);
  QFormerInput input;
  input.text_embeds = embeddings(text.ids);
  const at::Tensor text_rows = multimodal_causal_mask(text.mask, queries).narrow(2, queries, length);
  input.self_mask = additive_mask(text_rows, query_tokens.scalar_type());
  input.prefix = &query_memory;
  return itg_head(qformer->forward(input, trace).text, embeddings->word_embeddings->weight);
}

RepresentationLosses Blip2QFormerImpl::losses(const RepresentationBatch& batch, const RepresentationOptions& options,
                                              const std::shared_ptr<ProcessGroup>& group) {
  // 1. One pass serves contrast and generation; its keys and values of the picture serve matching too.
  const FirstPass pass = first_pass(batch, options.decoder_start_id);

  // 2. Contrast.
  ContrastiveInput contrast;
  contrast.image_features = image_features(pass.query_output);
  contrast.text_features = text_features(pass.text_output);
  contrast.all_image_features = group->all_gather(contrast.image_features);
  contrast.all_text_features = group->all_gather(contrast.text_features);
  contrast.temperature = temperature;
  contrast.first_row = group->rank() * batch.size();
  contrast.image_ids = batch.image_ids;
  contrast.all_image_ids = gather_ids(batch.image_ids, group);
  const ContrastiveLoss itc = image_text_contrastive(contrast, options.label_smoothing);

  // 3. Matching, against negatives that contrast finds hard.
  RepresentationLosses result;
  if (options.negatives) {
    result.negatives = *options.negatives;
  } else {
    auto weights = [&](const at::Tensor& similarities) {
      return negative_weights(similarities, contrast.first_row, contrast.image_ids, contrast.all_image_ids,
                              options.negative_rule);
    };
    result.negatives = draw_hard_negatives(weights(itc.image_to_text), weights(itc.text_to_image));
  }
  result.matching_logits = matching_triples(batch, pass, result.negatives, group);
  result.matching = image_text_matching(result.matching_logits, batch.size());

  // 4. Generation.
  result.generation = generation_loss(batch, pass, options);

  result.contrastive = itc.loss;
  result.total = result.contrastive + result.matching + result.generation;
  result.image_to_text = itc.image_to_text;
  result.text_to_image = itc.text_to_image;
  return result;
}

Blip2QFormerImpl::FirstPass Blip2QFormerImpl::first_pass(const RepresentationBatch& batch,
                                                         std::int64_t decoder_start_id) {
  FirstPass pass;
  pass.image_tokens = batch.tower_output.defined() ? vision_model->post_layernorm(batch.tower_output)
                                                   : vision_model->forward(batch.pixels);
  pass.image_memory = qformer->image_memory(pass.image_tokens);
  const auto [text, generated] = embeddings->with_start(batch.text.ids, decoder_start_id);
  pass.text_embeds = text;
  QFormerInput input;
  input.query_embeds = expand_queries(batch.size());
  input.text_embeds = torch::cat({text, generated}, 1);
  input.text_mask = torch::cat({batch.text.mask, batch.text.mask}, 1);
  input.self_mask = additive_mask(contrast_and_generation_mask(batch.text.mask, options_.num_query_tokens),
                                  query_tokens.scalar_type());
  input.image_memory = &pass.image_memory;
  const QFormerOutput output = qformer->forward(input);
  pass.query_output = output.query;
  const auto texts = output.text.chunk(2, 1);
  pass.text_output = texts[0];
  pass.generation_output = texts[1];
  return pass;
}

at::Tensor Blip2QFormerImpl::matching_triples(const RepresentationBatch& batch, const FirstPass& pass,
                                              const HardNegatives& negatives,
                                              const std::shared_ptr<ProcessGroup>& group) {
  at::Tensor negative_embeds, negative_mask;
  std::vector<KeyValue> negative_memory;
  if (group->size() == 1) {  // the negatives are rows of the positives: nothing to compute again
    negative_embeds = pass.text_embeds.index_select(0, negatives.text_rows);
    negative_mask = batch.text.mask.index_select(0, negatives.text_rows);
    negative_memory = select_rows(pass.image_memory, negatives.image_rows);
  } else {
    negative_embeds = embeddings(group->all_gather(batch.text.ids).index_select(0, negatives.text_rows));
    negative_mask = group->all_gather(batch.text.mask).index_select(0, negatives.text_rows);
    const at::Tensor tokens = all_gather_with_gradient(pass.image_tokens, group);
    negative_memory = qformer->image_memory(tokens.index_select(0, negatives.image_rows));
  }
  // Texts: positive, positive, negative; pictures: positive, negative, positive.
  std::vector<KeyValue> memory;
  for (std::size_t i = 0; i < negative_memory.size(); ++i) {
    const KeyValue &own = pass.image_memory[i], &other = negative_memory[i];
    memory.push_back({torch::cat({own.key, other.key, own.key}), torch::cat({own.value, other.value, own.value})});
  }
  const at::Tensor queries =
      encode_pair_embeds(memory, torch::cat({pass.text_embeds, pass.text_embeds, negative_embeds}),
                         torch::cat({batch.text.mask, batch.text.mask, negative_mask}), /*trace=*/nullptr);
  return matching_logits(itm_head(queries));
}

at::Tensor Blip2QFormerImpl::generation_loss(const RepresentationBatch& batch, const FirstPass& pass,
                                             const RepresentationOptions& options) {
  // Only the rows that have a word to predict meet the vocabulary.
  const std::int64_t length = batch.text.ids.size(1);
  const at::Tensor counts = batch.text.mask.slice(1, 1, length).ne(0);
  const at::Tensor rows = pass.generation_output.slice(1, 0, length - 1).index({counts});
  const at::Tensor words = batch.text.ids.slice(1, 1, length).index({counts});
  return word_cross_entropy(itg_head(rows, embeddings->word_embeddings->weight), words, options.label_smoothing);
}

}  // namespace blip2
