#include "blip2/eval/demo_evaluation.h"

#include <torch/torch.h>

#include "blip2/core/error.h"
#include "blip2/data/annotations.h"
#include "blip2/image/transforms.h"
#include "blip2/losses/image_text_contrastive.h"
#include "blip2/losses/image_text_matching.h"
#include "blip2/models/captioner.h"
#include "blip2/models/run_folder.h"

namespace blip2 {
namespace {

constexpr std::int64_t kBatch = 50;
// No scene shows an object twice; a language model this small has not learnt that nobody says a thing twice.
constexpr double kRepetitionPenalty = 4.0;

/** The held-out pictures, as tensors and as they look. */
struct Pictures {
  at::Tensor pixels;  // [N, 3, S, S]
  std::vector<Image> images;
  std::vector<std::string> captions;
  std::vector<std::vector<std::string>> objects;

  std::int64_t size() const { return pixels.size(0); }
};

Pictures load_pictures(const DemoEvaluationOptions& options, const ImageTransformOptions& transform) {
  const std::int64_t image_size = transform.image_size;
  Pictures pictures;
  std::vector<at::Tensor> pixels;
  for (const Annotation& annotation : load_annotations(options.annotations)) {
    if (annotation.objects.empty()) {  // no names at all would count as all of them named
      throw UserError("'" + options.annotations + "': the picture '" + annotation.image.string() +
                      "' has no \"objects\", the names that are looked for in its caption");
    }
    pictures.images.push_back(load_image(annotation.image));
    pictures.captions.push_back(annotation.captions.front());
    pictures.objects.push_back(annotation.objects);
    pixels.push_back(
        torch::tensor(evaluation_transform(pictures.images.back(), transform)).view({3, image_size, image_size}));
  }
  if (pixels.empty()) throw UserError("'" + options.annotations + "' holds no pictures");
  pictures.pixels = torch::stack(pixels);
  return pictures;
}

struct Alikeness {
  at::Tensor by_contrast, reranked;  // [N, N]
};

Alikeness compare(RepresentationModel& loaded, const Pictures& pictures, std::int64_t best) {
  auto& model = *loaded.model;
  const TextTokens text = tokenize(*loaded.tokenizer, pictures.captions, {});
  const at::Tensor text_features = model.text_features(model.encode_text(text));
  std::vector<at::Tensor> similarities;
  std::vector<std::vector<KeyValue>> memories;  // of each batch of pictures
  for (std::int64_t first = 0; first < pictures.size(); first += kBatch) {
    ImageQueries image = model.encode_image(pictures.pixels.slice(0, first, first + kBatch));
    similarities.push_back(best_query_similarity(model.image_features(image.query_output), text_features));
    memories.push_back(std::move(image.image_memory));
  }
  const at::Tensor similarity = torch::cat(similarities);
  const auto match = [&](std::int64_t picture, const at::Tensor& texts) {
    const at::Tensor rows = torch::full({texts.size(0)}, picture % kBatch, torch::kLong);
    const TextTokens chosen{text.ids.index_select(0, texts), text.mask.index_select(0, texts)};
    const auto memory = select_rows(memories[static_cast<std::size_t>(picture / kBatch)], rows);
    return matching_logits(model.match(memory, chosen)).select(1, 1);
  };
  return {similarity, rerank_by_matching(similarity, best, match)};
}

std::vector<std::string> caption_all(GeneratorModel& generator, const Pictures& pictures) {
  GenerationOptions options;
  options.num_beams = 3;
  options.max_new_tokens = 24;
  options.repetition_penalty = kRepetitionPenalty;
  std::vector<std::string> captions;
  for (std::int64_t first = 0; first < pictures.size(); first += kBatch) {
    const at::Tensor pixels = pictures.pixels.slice(0, first, first + kBatch);
    for (const auto& row : caption_pictures(generator, pixels, "", options)) captions.push_back(row.front().text);
  }
  return captions;
}

void add_retrieval_examples(Report& report, const Pictures& pictures, const at::Tensor& scores) {
  for (std::int64_t i = 0; i < std::min<std::int64_t>(6, pictures.size()); ++i) {
    const auto best = scores[i].topk(std::min<std::int64_t>(4, scores.size(1)));
    const auto at = static_cast<std::size_t>(i);
    RetrievalExample example{pictures.images[at], pictures.captions[at], {}};
    for (std::int64_t k = 0; k < std::get<1>(best).size(0); ++k) {
      const auto text = static_cast<std::size_t>(std::get<1>(best)[k].item<std::int64_t>());
      example.found.emplace_back(pictures.captions[text], std::get<0>(best)[k].item<double>());
    }
    report.retrieval.push_back(std::move(example));
  }
}

/** Cross-attention of the last layer that has it, mean over heads, class token left out. */
void add_attention_examples(Report& report, RepresentationModel& loaded, const Pictures& pictures) {
  const std::int64_t count = std::min<std::int64_t>(5, pictures.size());
  QFormerTrace trace;
  loaded.model->encode_image(pictures.pixels.slice(0, 0, count), &trace);
  const at::Tensor maps = trace.cross_attention.back().mean(1).slice(2, 1).to(torch::kDouble).contiguous();
  for (std::int64_t i = 0; i < count; ++i) {
    const auto at = static_cast<std::size_t>(i);
    AttentionExample example{pictures.images[at], pictures.captions[at], {}};
    auto add = [&](const std::string& name, const at::Tensor& map) {
      const at::Tensor flat = map.contiguous();
      example.maps.emplace_back(name,
                                std::vector<double>(flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()));
    };
    add("all queries", maps[i].mean(0));
    for (std::int64_t q = 0; q < maps.size(1); ++q) add("query " + std::to_string(q + 1), maps[i][q]);
    report.attention.push_back(std::move(example));
  }
}

void add_caption_examples(Report& report, const Pictures& pictures, const std::vector<std::string>& captions,
                          std::int64_t count) {
  for (std::size_t i = 0; i < captions.size() && static_cast<std::int64_t>(i) < count; ++i) {
    const bool right = naming_scores({captions[i]}, {pictures.objects[i]}).both_objects == 1.0;
    report.captions.push_back({pictures.images[i], pictures.captions[i], captions[i], right});
  }
}

}  // namespace

at::Tensor rerank_by_matching(const at::Tensor& similarity, std::int64_t best,
                              const std::function<at::Tensor(std::int64_t, const at::Tensor&)>& match) {
  at::Tensor scores = torch::full_like(similarity, -100.0);
  best = std::min(best, similarity.size(1));
  for (std::int64_t i = 0; i < similarity.size(0); ++i) {
    const auto [values, texts] = similarity[i].topk(best);
    scores[i].index_put_({texts}, values + match(i, texts));
  }
  return scores;
}

DemoEvaluation evaluate_demo(const DemoEvaluationOptions& options) {
  torch::NoGradGuard no_grad;
  RepresentationModel representation = load_representation_model(options.stage1);
  GeneratorModel generator = load_generator_model(options.stage2);
  const Pictures pictures = load_pictures(options, representation.transform);
  std::vector<std::int64_t> own;
  for (std::int64_t i = 0; i < pictures.size(); ++i) own.push_back(i);

  DemoEvaluation result;
  result.pictures = pictures.size();
  const Alikeness alikeness = compare(representation, pictures, options.rerank);
  result.by_contrast = retrieval_scores(alikeness.by_contrast, own, own);
  result.reranked = retrieval_scores(alikeness.reranked, own, own);
  const std::vector<std::string> captions = caption_all(generator, pictures);
  result.naming = naming_scores(captions, pictures.objects);

  Report& report = result.report;
  report.charts = {{"Language model", loss_curves(options.language_model + "/log.jsonl", 5)},
                   {"Stage 1", loss_curves(options.stage1 + "/log.jsonl", 5)},
                   {"Stage 2", loss_curves(options.stage2 + "/log.jsonl", 5)}};
  add_caption_examples(report, pictures, captions, options.examples);
  add_retrieval_examples(report, pictures, alikeness.reranked);
  add_attention_examples(report, representation, pictures);
  return result;
}

}  // namespace blip2
