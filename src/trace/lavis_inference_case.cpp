// What a trained stage-1 model answers: embeddings, captions of its own, retrieval.
#include <torch/torch.h>

#include "blip2/eval/retrieval.h"
#include "blip2/losses/image_text_contrastive.h"
#include "blip2/losses/image_text_matching.h"
#include "blip2/models/qformer_language_model.h"
#include "blip2/models/retrieval_ranking.h"
#include "blip2/text/load_tokenizer.h"
#include "trace/lavis_case.h"
#include "trace/lavis_model.h"

namespace blip2 {
namespace {

using nlohmann::json;

Blip2QFormer trained_model(const CaseRun& run) {
  return load_lavis_qformer(run, "stage1_trained", /*frozen_vision=*/true);
}

json rows_of(const at::Tensor& table) {
  json rows = json::array();
  for (const at::Tensor& row : table.to(torch::kDouble).unbind(0)) {
    const at::Tensor own = row.contiguous();
    rows.push_back(std::vector<double>(own.const_data_ptr<double>(), own.const_data_ptr<double>() + own.numel()));
  }
  return rows;
}

TextTokens text_of(const CaseRun& run) {
  return {run.input("input_ids"), run.input("attention_mask")};
}

/** Matching logits [I, T, 2] of every picture with every text. */
at::Tensor match_all(Blip2QFormerImpl& model, const ImageQueries& image, const TextTokens& text) {
  std::vector<at::Tensor> logits;
  for (std::int64_t i = 0; i < image.image_tokens.size(0); ++i) {
    const at::Tensor own = torch::full({text.ids.size(0)}, i, torch::kLong);
    logits.push_back(matching_logits(model.match(select_rows(image.image_memory, own), text)));
  }
  return torch::stack(logits);
}

GenerationOptions options_of(const json& asked) {
  GenerationOptions options;
  options.num_beams = asked.at("num_beams");
  options.min_length = asked.at("min_length");
  options.max_length = asked.at("max_length").get<std::int64_t>();
  options.length_counts_prompt = true;
  return options;
}

/** Logits [B, V] of the word behind [DEC]. */
at::Tensor first_logits(Blip2QFormerImpl& model, const at::Tensor& pixels, std::int64_t start_id) {
  const at::Tensor starts = torch::full({pixels.size(0), 1}, start_id, torch::kLong);
  const ImageQueries image = model.encode_image(pixels);
  return model.generation_logits(image.self_attention_memory, {starts, torch::ones_like(starts)}).select(1, 0);
}

/** Scores whose equal ones rank as LAVIS sorts them: the last first. */
at::Tensor without_ties(const at::Tensor& scores) {
  return scores.to(torch::kDouble) + 1e-9 * torch::arange(scores.size(1), torch::kDouble);
}

/** LAVIS's names of the recalls, in percent. */
json recall_of(const RetrievalScores& scores) {
  json result;
  double sum = 0;
  for (const auto& [name, recall] : {std::pair("txt", scores.image_to_text), std::pair("img", scores.text_to_image)}) {
    const std::string prefix = name;
    result[prefix + "_r1"] = 100 * recall.recall_at_1;
    result[prefix + "_r5"] = 100 * recall.recall_at_5;
    result[prefix + "_r10"] = 100 * recall.recall_at_10;
    result[prefix + "_r_mean"] = 100 * (recall.recall_at_1 + recall.recall_at_5 + recall.recall_at_10) / 3;
    sum += result[prefix + "_r_mean"].get<double>();
  }
  result["r_mean"] = sum / 2;
  result["agg_metrics"] = result["txt_r_mean"];
  return result;
}

}  // namespace

void run_lavis_features(CaseRun& run) {
  const torch::NoGradGuard no_grad;
  Blip2QFormer model = trained_model(run);
  const TextTokens text = text_of(run);
  const ImageQueries image = model->encode_image(run.input("image"));
  NamedTensors& trace = run.trace;
  trace["image_embeds"] = image.query_output;
  trace["image_embeds_proj"] = model->image_features(image.query_output);
  trace["text_embeds"] = model->encode_text(text);
  trace["text_embeds_proj"] = model->text_token_features(trace["text_embeds"]);
  trace["multimodal_embeds"] = model->encode_pair(image.image_memory, text);
  trace["itm_logits"] = match_all(*model, image, text);
  trace["itm_probability"] = trace["itm_logits"].softmax(2).select(2, 1);
  trace["itc_similarity"] =
      best_query_similarity(trace["image_embeds_proj"], model->text_features(trace["text_embeds"]));
  run.answers = {{"itm_probability", rows_of(trace["itm_probability"])},
                 {"itc_similarity", rows_of(trace["itc_similarity"])}};
}

void run_lavis_captioner(CaseRun& run) {
  const torch::NoGradGuard no_grad;
  RepresentationModel representation;
  representation.model = trained_model(run);
  representation.tokenizer = load_tokenizer(beside(run, "stage1_model"));
  const at::Tensor pixels = run.input("image");
  const std::int64_t start = *representation.tokenizer->find("[DEC]");
  for (const json& asked : run.asked.at("runs")) {
    const std::string name = asked.at("name");
    const auto captions = caption_pictures(representation, pixels, options_of(asked));
    std::size_t longest = 0;
    for (const auto& row : captions) longest = std::max(longest, row[0].token_ids.size());
    json answers = {{"name", name}, {"strings", json::array()}, {"sequences", json::array()}};
    std::vector<double> scores;
    std::vector<at::Tensor> sequences;
    for (const auto& row : captions) {
      std::vector<std::int64_t> ids = {start};
      ids.insert(ids.end(), row[0].token_ids.begin(), row[0].token_ids.end());
      ids.resize(longest + 1, representation.tokenizer->padding_id());
      answers["strings"].push_back(row[0].text);
      answers["sequences"].push_back(ids);
      sequences.push_back(torch::tensor(ids, torch::kLong));
      scores.push_back(row[0].score);
    }
    run.trace[name + ".sequences"] = torch::stack(sequences);
    if (asked.at("num_beams") == 1) {
      run.trace[name + ".first_step_logits"] = first_logits(*representation.model, pixels, start);
    } else {
      run.trace[name + ".sequences_scores"] = torch::tensor(scores, torch::kDouble);
      answers["sequences_scores"] = scores;
    }
    run.answers["runs"].push_back(std::move(answers));
  }
}

void run_lavis_retrieval(CaseRun& run) {
  const torch::NoGradGuard no_grad;
  Blip2QFormer model = trained_model(run);
  const TextTokens text = text_of(run);
  const ImageQueries image = model->encode_image(run.input("image"));
  RankingOptions options;
  options.candidates = run.asked.at("k_test");
  const RankingScores scores = ranking_scores(*model, image.image_tokens, text, options);
  run.trace["sims"] = scores.similarities;
  run.trace["itm_logits_all"] = match_all(*model, image, text).select(2, 1);
  run.trace["score_i2t"] = scores.image_to_text;
  run.trace["score_t2i"] = scores.text_to_image;

  std::vector<std::int64_t> image_ids, text_ids;
  for (std::int64_t i = 0; i < image.image_tokens.size(0); ++i) image_ids.push_back(i);
  for (std::int64_t t = 0; t < text.ids.size(0); ++t) {
    text_ids.push_back(run.asked.at("txt2img").at(std::to_string(t)));
  }
  options.add_similarity = false;
  const RankingScores matching = ranking_scores(*model, image.image_tokens, text, options);
  const auto recall = [&](const at::Tensor& images, const at::Tensor& texts) {
    return recall_of(retrieval_scores(without_ties(images), without_ties(texts), image_ids, text_ids));
  };
  run.answers["recall"] = recall(scores.image_to_text, scores.text_to_image);
  run.answers["recall_itc_only"] = recall(scores.similarities, scores.similarities.t());
  run.answers["recall_itm_without_itc"] = recall(matching.image_to_text, matching.text_to_image);
}

}  // namespace blip2
