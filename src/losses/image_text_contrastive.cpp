#include "blip2/losses/image_text_contrastive.h"

#include <torch/torch.h>

#include "blip2/losses/hard_negatives.h"
#include "blip2/nn/autocast.h"

namespace blip2 {

at::Tensor best_query_similarity(const at::Tensor& image_features, const at::Tensor& text_features) {
  const FullPrecision ranks_are_close;
  return std::get<0>(image_features.matmul(text_features.t()).max(1));  // [B, Q, G] -> [B, G]
}

at::Tensor contrastive_targets(const at::Tensor& positives, double label_smoothing, at::ScalarType dtype) {
  const at::Tensor weights = positives.to(dtype);
  return (1.0 - label_smoothing) * weights / weights.sum(1, true) +
         label_smoothing / static_cast<double>(positives.size(1));
}

ContrastiveLoss image_text_contrastive(const ContrastiveInput& input, double label_smoothing) {
  const std::int64_t batch = input.image_features.size(0), all = input.all_text_features.size(0);
  TORCH_CHECK(input.text_features.size(0) == batch && input.all_image_features.size(0) == all,
              "image_text_contrastive: ", batch, " pictures and ", input.text_features.size(0), " texts, ",
              input.all_image_features.size(0), " and ", all, " gathered ones");
  const FullPrecision similarities_decide;  // temperature divides by 0.07 what half precision has rounded
  ContrastiveLoss result;
  result.image_to_text = best_query_similarity(input.image_features, input.all_text_features) / input.temperature;
  // [G, Q, E] . [B, E] -> best query of each gathered picture for each of our texts
  result.text_to_image = best_query_similarity(input.all_image_features, input.text_features).t() / input.temperature;

  const at::Tensor& logits = result.image_to_text;
  const at::Tensor positives = positive_mask(batch, all, input.first_row, input.image_ids, input.all_image_ids);
  const at::Tensor targets = contrastive_targets(positives.to(logits.device()), label_smoothing, logits.scalar_type());
  auto cross_entropy = [&](const at::Tensor& scores) { return -(targets * scores.log_softmax(1)).sum(1).mean(); };
  result.loss = 0.5 * (cross_entropy(result.image_to_text) + cross_entropy(result.text_to_image));
  return result;
}

}  // namespace blip2
