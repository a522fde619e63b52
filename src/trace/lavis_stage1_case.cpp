// Stage 1 as LAVIS computes it: every value on the way to the losses, the masks, two ranks against one.
#include <torch/torch.h>

#include <mutex>

#include "blip2/core/config.h"
#include "blip2/losses/image_text_contrastive.h"
#include "blip2/qformer/attention_mask.h"
#include "trace/lavis_case.h"
#include "trace/lavis_model.h"

namespace blip2 {
namespace {

using Rows = std::vector<std::int64_t>;

constexpr double kHidden = -10000.0;  // what LAVIS adds to the scores of what is not seen, and gives to positives

RepresentationBatch batch_of(const CaseRun& run) {
  RepresentationBatch batch;
  batch.pixels = run.input("image");
  batch.text = {run.input("input_ids"), run.input("attention_mask")};
  batch.image_ids = run.optional_input("image_id");
  return batch;
}

RepresentationBatch rows_of(const RepresentationBatch& batch, std::int64_t first, std::int64_t count) {
  RepresentationBatch rows;
  rows.pixels = batch.pixels.narrow(0, first, count);
  rows.text = {batch.text.ids.narrow(0, first, count), batch.text.mask.narrow(0, first, count)};
  return rows;
}

at::Tensor tensor_of(const nlohmann::json& rows) {
  return torch::tensor(rows.get<Rows>(), torch::kLong);
}

RepresentationOptions options_of(const Blip2QFormerImpl& model, const nlohmann::json& image_rows,
                                 const nlohmann::json& text_rows) {
  RepresentationOptions options;
  options.decoder_start_id = model.options().qformer_config.vocab_size - 1;  // [DEC] stands last
  options.negatives = HardNegatives{tensor_of(image_rows), tensor_of(text_rows)};
  return options;
}

/** Losses, similarities and what negatives are drawn from: the same on one rank and on several. */
void trace_losses(const RepresentationLosses& losses, const RepresentationBatch& batch, std::int64_t first_row,
                  const std::string& prefix, NamedTensors& trace) {
  trace[prefix + "loss"] = losses.total;
  trace[prefix + "loss_itc"] = losses.contrastive;
  trace[prefix + "loss_itm"] = losses.matching;
  trace[prefix + "loss_lm"] = losses.generation;
  trace[prefix + "neg_image_idx"] = losses.negatives.image_rows;
  trace[prefix + "neg_text_idx"] = losses.negatives.text_rows;
  const at::Tensor &ids = batch.image_ids, &i2t = losses.image_to_text, &t2i = losses.text_to_image;
  const at::Tensor positives = positive_mask(i2t.size(0), i2t.size(1), first_row, ids, ids);
  for (const auto& [name, similarities] : {std::pair("i2t", i2t), std::pair("t2i", t2i)}) {
    trace[prefix + "sim_" + name] = similarities;
    trace[prefix + "sim_" + name + "_masked"] = similarities.masked_fill(positives, kHidden);
    trace[prefix + "weights_" + name] =
        negative_weights(similarities, first_row, ids, ids, NegativeRule::kMaskThenSoftmax);
    trace[prefix + "old_rule_weights_" + name] =
        negative_weights(similarities, first_row, ids, ids, NegativeRule::kSoftmaxThenMask);
  }
}

/** Texts and pictures as matching meets them: texts positive, positive, negative; pictures positive, negative,
 * positive. */
at::Tensor trace_matching(Blip2QFormerImpl& model, const RepresentationBatch& batch, const ImageQueries& image,
                          const HardNegatives& negatives, NamedTensors& trace) {
  const at::Tensor own = torch::arange(batch.pixels.size(0), torch::kLong);
  const at::Tensor text_rows = torch::cat({own, own, negatives.text_rows});
  const TextTokens text{batch.text.ids.index_select(0, text_rows), batch.text.mask.index_select(0, text_rows)};
  QFormerTrace qformer;
  const at::Tensor logits =
      model.match(select_rows(image.image_memory, torch::cat({own, negatives.image_rows, own})), text, &qformer);
  trace["itm_output"] = qformer.hidden_states.back();
  trace["itm_logits_per_query"] = logits;
  trace["itm_logits"] = logits.mean(1);
  trace["itm_labels"] = torch::cat({torch::ones_like(own), torch::zeros_like(own), torch::zeros_like(own)});
  return logits;
}

void trace_generation(Blip2QFormerImpl& model, const RepresentationBatch& batch, const ImageQueries& image,
                      std::int64_t decoder_start_id, NamedTensors& trace) {
  TextTokens text{batch.text.ids.clone(), batch.text.mask};
  text.ids.select(1, 0).fill_(decoder_start_id);
  QFormerTrace qformer;
  trace["itg_logits"] = model.generation_logits(image.self_attention_memory, text, &qformer);
  trace["itg_output"] = qformer.hidden_states.back();
  trace["itg_input_ids"] = text.ids;
  trace["itg_labels"] = text.ids.masked_fill(text.mask.eq(0), -100);
}

at::Tensor as_added(const at::Tensor& visible, at::ScalarType dtype) {
  return visible.eq(0).to(dtype) * kHidden;
}

}  // namespace

void run_lavis_stage1(CaseRun& run) {
  const bool frozen = !run.has_input("image_id");  // with ids the case is a fine-tuning, which trains the encoder
  Blip2QFormer model = load_lavis_qformer(run, "stage1_model", frozen);
  const RepresentationBatch batch = batch_of(run);
  const RepresentationOptions options = options_of(*model, run.asked.at("neg_image_idx"), run.asked.at("neg_text_idx"));
  const RepresentationLosses losses = model->losses(batch, options, single_process_group());
  losses.total.backward();
  run.trace = lavis_gradients(*model, LavisModel::kQFormer);
  trace_losses(losses, batch, /*first_row=*/0, "", run.trace);

  const torch::NoGradGuard no_grad;
  const ImageQueries image = model->encode_image(batch.pixels);
  run.trace["vit_output"] = model->vision_model->encode(batch.pixels);
  run.trace["image_embeds"] = image.image_tokens;
  run.trace["query_output"] = image.query_output;
  run.trace["image_feats"] = model->image_features(image.query_output);
  run.trace["text_output"] = model->encode_text(batch.text);
  run.trace["text_feat"] = model->text_features(run.trace["text_output"]);
  if (batch.image_ids.defined()) {
    run.trace["itc_targets"] =
        contrastive_targets(positive_mask(batch.size(), batch.size(), 0, batch.image_ids, batch.image_ids),
                            options.label_smoothing, run.dtype());
  }
  trace_matching(*model, batch, image, *options.negatives, run.trace);
  trace_generation(*model, batch, image, options.decoder_start_id, run.trace);
  for (const char* loss : {"loss", "loss_itc", "loss_itm", "loss_lm"})
    run.answers[loss] = run.trace[loss].item<double>();
}

void run_lavis_masks(CaseRun& run) {
  const torch::NoGradGuard no_grad;
  Blip2QFormer model = load_lavis_qformer(run, "stage1_model", /*frozen_vision=*/true);
  const RepresentationBatch batch = batch_of(run);
  const std::int64_t queries = model->options().num_query_tokens, length = batch.text.ids.size(1);
  const std::int64_t size = batch.pixels.size(0);
  const auto add = [&](const std::string& name, const at::Tensor& visible) {
    run.trace[name] = as_added(visible, run.dtype());
  };
  const at::Tensor unimodal = unimodal_mask(batch.text.mask, queries);
  add("mask_query", unimodal.narrow(2, 0, 1).narrow(3, 0, queries));
  add("mask_text", unimodal.narrow(2, queries, 1).narrow(3, queries, length));
  // Matching's third part is the texts that stage1_forward recorded as negatives.
  const at::Tensor negatives = tensor_of(load_json(beside(run, "stage1_forward") / "expected.json").at("neg_text_idx"));
  const at::Tensor texts = torch::cat({batch.text.mask, batch.text.mask, batch.text.mask.index_select(0, negatives)});
  add("mask_itm", bidirectional_mask(texts, queries).narrow(2, 0, 1));
  const at::Tensor causal = multimodal_causal_mask(batch.text.mask, queries);
  add("mask_itg", causal.narrow(2, queries, length));
  add("mask_unilm_full", causal);
  run.trace["unilm_full_keep"] = causal.squeeze(1).to(torch::kLong);
  const ImageQueries image = model->encode_image(batch.pixels);
  const std::int64_t image_tokens = image.image_tokens.size(1);
  run.trace["cross_mask_query"] = torch::zeros({size, 1, 1, image_tokens}, run.dtype());
  run.trace["cross_mask_itm"] = torch::zeros({3 * size, 1, 1, image_tokens}, run.dtype());

  const TextTokens text{run.input("itg_input_ids"), batch.text.mask};
  run.trace["itg_logits_cached"] = model->generation_logits(image.self_attention_memory, text);
  QFormerInput joint;
  joint.query_embeds = model->query_tokens.expand({size, -1, -1});
  joint.text_embeds = model->embeddings(text.ids);
  joint.self_mask = additive_mask(causal, run.dtype());
  joint.image_memory = &image.image_memory;
  const QFormerOutput output = model->qformer->forward(joint);
  run.trace["hidden_full_pass"] = torch::cat({output.query, output.text}, 1);
  run.trace["itg_logits_full_pass"] = model->itg_head(output.text, model->embeddings->word_embeddings->weight);
}

void run_lavis_two_ranks(CaseRun& run) {
  constexpr std::int64_t kRanks = 2;
  const RepresentationBatch all = batch_of(run);
  const std::int64_t share = all.pixels.size(0) / kRanks;
  std::mutex mutex;
  NamedTensors sum;  // of the ranks' gradients
  run_thread_group(kRanks, [&](const std::shared_ptr<ProcessGroup>& group) {
    const auto rank = static_cast<std::size_t>(group->rank());
    Blip2QFormer model = load_lavis_qformer(run, "stage1_model", /*frozen_vision=*/true);
    const RepresentationBatch batch = rows_of(all, group->rank() * share, share);
    const RepresentationLosses losses = model->losses(
        batch, options_of(*model, run.asked.at("neg_image_idx")[rank], run.asked.at("neg_text_idx")[rank]), group);
    losses.total.backward();

    const std::lock_guard lock(mutex);
    const torch::NoGradGuard no_grad;
    const std::string prefix = "rank" + std::to_string(rank) + ".";
    trace_losses(losses, batch, group->rank() * share, prefix, run.trace);
    run.trace[prefix + "image_feats"] = model->image_features(model->encode_image(batch.pixels).query_output);
    run.trace[prefix + "text_feat"] = model->text_features(model->encode_text(batch.text));
    run.trace[prefix + "itm_logits"] = losses.matching_logits;
    for (const auto& [name, gradient] : lavis_gradients(*model, LavisModel::kQFormer)) {
      run.trace[prefix + name] = gradient;
      at::Tensor& total = sum[name];
      total = total.defined() ? total + gradient : gradient;
    }
  });
  for (const auto& [name, gradient] : sum) run.trace["ddp_average." + name] = gradient / static_cast<double>(kRanks);
}

}  // namespace blip2
