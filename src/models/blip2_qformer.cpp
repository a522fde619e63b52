#include "blip2/models/blip2_qformer.h"

#include <torch/torch.h>

#include "blip2/losses/image_grounded_text.h"
#include "blip2/losses/image_text_contrastive.h"
#include "blip2/losses/image_text_matching.h"
#include "blip2/nn/autocast.h"
#include "blip2/qformer/attention_mask.h"

namespace blip2 {
namespace {

at::Tensor l2_normalize(const at::Tensor& x) {
  return torch::nn::functional::normalize(at_least_float(x), torch::nn::functional::NormalizeFuncOptions().dim(-1));
}

at::Tensor gather_ids(const at::Tensor& ids, const std::shared_ptr<ProcessGroup>& group) {
  return ids.defined() ? group->all_gather(ids) : ids;
}

/** The batch with texts as long as the longest of all ranks, which meet in matching. */
RepresentationBatch as_long_as_all(RepresentationBatch batch, const std::shared_ptr<ProcessGroup>& group) {
  if (group->size() == 1) return batch;
  const std::int64_t length = batch.text.ids.size(1);
  const at::Tensor lengths = group->all_gather(torch::full({1}, length, batch.text.ids.options()));
  const std::int64_t missing = lengths.max().item<std::int64_t>() - length;
  batch.text = {torch::constant_pad_nd(batch.text.ids, {0, missing}, 0),
                torch::constant_pad_nd(batch.text.mask, {0, missing}, 0)};
  return batch;
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
  return encode_pair_embeds(image_memory, /*image_rows=*/{}, embeddings(text.ids), text.mask, trace);
}

at::Tensor Blip2QFormerImpl::encode_pair_embeds(const std::vector<KeyValue>& image_memory, const at::Tensor& image_rows,
                                                const at::Tensor& text_embeds, const at::Tensor& text_mask,
                                                QFormerTrace* trace) {
  QFormerInput input;
  input.query_embeds = expand_queries(text_embeds.size(0));
  input.text_embeds = text_embeds;
  // Every row sees the same, so that one row of the mask serves all.
  const at::Tensor visible = bidirectional_mask(text_mask, options_.num_query_tokens).slice(2, 0, 1);
  input.self_mask = additive_mask(visible, query_tokens.scalar_type());
  input.image_memory = &image_memory;
  input.image_rows = image_rows;
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

RepresentationLosses Blip2QFormerImpl::losses(const RepresentationBatch& given, const RepresentationOptions& options,
                                              const std::shared_ptr<ProcessGroup>& group) {
  const RepresentationBatch batch = as_long_as_all(given, group);
  const SharedInputs shared = shared_inputs(batch, options.decoder_start_id);
  RepresentationLosses result;
  contrast_and_generate(batch, shared, options, group, result);
  match_triples(batch, shared, group, result);
  result.total = result.contrastive + result.matching + result.generation;
  return result;
}

RepresentationLosses Blip2QFormerImpl::add_gradients(const RepresentationBatch& given,
                                                     const RepresentationOptions& options,
                                                     const std::shared_ptr<ProcessGroup>& group, double scale) {
  const RepresentationBatch batch = as_long_as_all(given, group);
  SharedInputs shared = shared_inputs(batch, options.decoder_start_id), leaves = shared;
  for (at::Tensor* leaf : tensors_of(leaves)) *leaf = leaf->detach().requires_grad_(leaf->requires_grad());
  RepresentationLosses result;
  contrast_and_generate(batch, leaves, options, group, result);
  differentiate((result.contrastive + result.generation) * scale);
  match_triples(batch, leaves, group, result);
  differentiate(result.matching * scale);
  for (at::Tensor* part : {&result.contrastive, &result.matching, &result.generation, &result.image_to_text,
                           &result.text_to_image, &result.matching_logits}) {
    *part = part->detach();
  }
  result.total = result.contrastive + result.matching + result.generation;

  // What both passes have found out about what they share goes on to where that came from.
  std::vector<at::Tensor> roots, gradients;
  const auto ends = tensors_of(leaves), beginnings = tensors_of(shared);
  for (std::size_t i = 0; i < ends.size(); ++i) {
    if (!ends[i]->grad().defined()) continue;
    roots.push_back(*beginnings[i]);
    gradients.push_back(ends[i]->grad());
  }
  const FullPrecision as_recorded;
  torch::autograd::backward(roots, gradients);
  return result;
}

std::vector<at::Tensor*> Blip2QFormerImpl::tensors_of(SharedInputs& shared) {
  std::vector<at::Tensor*> tensors = {&shared.image_tokens, &shared.text_embeds, &shared.generated_embeds};
  for (KeyValue& layer : shared.image_memory) tensors.insert(tensors.end(), {&layer.key, &layer.value});
  return tensors;
}

Blip2QFormerImpl::SharedInputs Blip2QFormerImpl::shared_inputs(const RepresentationBatch& batch,
                                                               std::int64_t decoder_start_id) {
  SharedInputs shared;
  shared.image_tokens = batch.tower_output.defined() ? vision_model->post_layernorm(batch.tower_output)
                                                     : vision_model->forward(batch.pixels);
  shared.image_memory = qformer->image_memory(shared.image_tokens);
  std::tie(shared.text_embeds, shared.generated_embeds) = embeddings->with_start(batch.text.ids, decoder_start_id);
  return shared;
}

void Blip2QFormerImpl::contrast_and_generate(const RepresentationBatch& batch, const SharedInputs& shared,
                                             const RepresentationOptions& options,
                                             const std::shared_ptr<ProcessGroup>& group, RepresentationLosses& result) {
  QFormerInput input;
  input.query_embeds = expand_queries(batch.size());
  input.text_embeds = torch::cat({shared.text_embeds, shared.generated_embeds}, 1);
  input.text_mask = torch::cat({batch.text.mask, batch.text.mask}, 1);
  input.self_mask = additive_mask(contrast_and_generation_mask(batch.text.mask, options_.num_query_tokens),
                                  query_tokens.scalar_type());
  input.image_memory = &shared.image_memory;
  const QFormerOutput output = qformer->forward(input);
  const auto texts = output.text.chunk(2, 1);

  ContrastiveInput contrast;
  contrast.image_features = image_features(output.query);
  contrast.text_features = text_features(texts[0]);
  contrast.all_image_features = group->all_gather(contrast.image_features);
  contrast.all_text_features = group->all_gather(contrast.text_features);
  contrast.temperature = temperature;
  contrast.first_row = group->rank() * batch.size();
  contrast.image_ids = batch.image_ids;
  contrast.all_image_ids = gather_ids(batch.image_ids, group);
  const ContrastiveLoss itc = image_text_contrastive(contrast, options.label_smoothing);
  result.contrastive = itc.loss;
  result.image_to_text = itc.image_to_text;
  result.text_to_image = itc.text_to_image;

  if (options.negatives) {
    result.negatives = *options.negatives;
  } else {
    auto weights = [&](const at::Tensor& similarities) {
      return negative_weights(similarities, contrast.first_row, contrast.image_ids, contrast.all_image_ids,
                              options.negative_rule);
    };
    result.negatives = draw_hard_negatives(weights(itc.image_to_text), weights(itc.text_to_image));
  }
  result.generation = generation_loss(batch, texts[1], options.label_smoothing);
}

void Blip2QFormerImpl::match_triples(const RepresentationBatch& batch, const SharedInputs& shared,
                                     const std::shared_ptr<ProcessGroup>& group, RepresentationLosses& result) {
  const HardNegatives& negatives = result.negatives;
  const at::Tensor own = torch::arange(batch.size(), negatives.image_rows.options());
  at::Tensor negative_embeds, negative_mask, negative_rows;
  std::vector<KeyValue> memory = shared.image_memory;
  if (group->size() == 1) {  // the negatives are rows of the positives: nothing to compute again
    negative_embeds = shared.text_embeds.index_select(0, negatives.text_rows);
    negative_mask = batch.text.mask.index_select(0, negatives.text_rows);
    negative_rows = negatives.image_rows;
  } else {
    negative_embeds = embeddings(group->all_gather(batch.text.ids).index_select(0, negatives.text_rows));
    negative_mask = group->all_gather(batch.text.mask).index_select(0, negatives.text_rows);
    const at::Tensor tokens = all_gather_with_gradient(shared.image_tokens, group);
    const auto others = qformer->image_memory(tokens.index_select(0, negatives.image_rows));
    for (std::size_t i = 0; i < memory.size(); ++i) {
      memory[i] = {torch::cat({memory[i].key, others[i].key}), torch::cat({memory[i].value, others[i].value})};
    }
    negative_rows = own + batch.size();
  }
  // Texts: positive, positive, negative; pictures: positive, negative, positive.
  const at::Tensor queries =
      encode_pair_embeds(memory, torch::cat({own, negative_rows, own}),
                         torch::cat({shared.text_embeds, shared.text_embeds, negative_embeds}),
                         torch::cat({batch.text.mask, batch.text.mask, negative_mask}), /*trace=*/nullptr);
  result.matching_logits = matching_logits(itm_head(queries));
  result.matching = image_text_matching(result.matching_logits, batch.size());
}

at::Tensor Blip2QFormerImpl::generation_loss(const RepresentationBatch& batch, const at::Tensor& text_output,
                                             double label_smoothing) {
  // Only the rows that have a word to predict meet the vocabulary.
  const std::int64_t length = batch.text.ids.size(1);
  const at::Tensor counts = batch.text.mask.slice(1, 1, length).ne(0);
  const at::Tensor rows = text_output.slice(1, 0, length - 1).index({counts});
  const at::Tensor words = batch.text.ids.slice(1, 1, length).index({counts});
  return word_cross_entropy(itg_head(rows, embeddings->word_embeddings->weight), words, label_smoothing);
}

}  // namespace blip2
