// Stage 1: the image encoder and the Q-Former with its three heads (paper section 3.1, LAVIS 1.6 and 3). Also the
// retrieval model: features for contrast, logits for matching. Parameter names are those of Hugging Face's
// Blip2ForImageTextRetrieval; what it lacks (`itg_head`, `temperature`) is named in its style.
#pragma once

#include <optional>

#include "blip2/dist/process_group.h"
#include "blip2/losses/hard_negatives.h"
#include "blip2/models/blip2_options.h"
#include "blip2/models/text_embeddings.h"
#include "blip2/qformer/qformer.h"

namespace blip2 {

/** What stage 1 learns from in one step. */
struct RepresentationBatch {
  at::Tensor pixels;        // [B, 3, S, S] float
  at::Tensor tower_output;  // [B, N, D] of VisionEncoder::encode() in place of pixels
  TextTokens text;          // [CLS] w ... [SEP], padded right
  at::Tensor image_ids;     // int64 [B], optional: texts of the same picture are no negatives of each other

  std::int64_t size() const { return text.ids.size(0); }
};

struct RepresentationOptions {
  double label_smoothing = 0.1;  // of contrast and generation alike
  NegativeRule negative_rule = NegativeRule::kMaskThenSoftmax;
  std::int64_t decoder_start_id = 30522;  // [DEC], in [CLS]'s place for generation
  /** Recorded negatives instead of drawn ones. */
  std::optional<HardNegatives> negatives;
};

/** The three losses, unweighted, and what they were made of. */
struct RepresentationLosses {
  at::Tensor total, contrastive, matching, generation;
  at::Tensor image_to_text, text_to_image;  // [B, G] similarities / temperature
  at::Tensor matching_logits;               // [3 B, 2]: matches, other pictures, other texts
  HardNegatives negatives;
};

/** A picture as the Q-Former sees it: computed once, used by all three objectives. */
struct ImageQueries {
  at::Tensor image_tokens;                      // [B, N, D]
  std::vector<KeyValue> image_memory;           // cross-attention keys and values per layer
  at::Tensor query_output;                      // [B, Q, H]
  std::vector<KeyValue> self_attention_memory;  // the queries' keys and values per layer, for generation
};

class Blip2QFormerImpl : public torch::nn::Module {
 public:
  explicit Blip2QFormerImpl(const Blip2Options& options);

  /** One training step's losses; ranks of `group` share their negatives. */
  RepresentationLosses losses(const RepresentationBatch& batch, const RepresentationOptions& options,
                              const std::shared_ptr<ProcessGroup>& group);

  /**
   * The same, and the gradients of `scale` times the total added to the parameters' `grad`; what is returned has no
   * graph. In less memory than differentiating losses(): what contrast and generation keep for their gradients is freed
   * before matching is computed.
   */
  RepresentationLosses add_gradients(const RepresentationBatch& batch, const RepresentationOptions& options,
                                     const std::shared_ptr<ProcessGroup>& group, double scale = 1.0);

  /** The query pass over pixels [B, 3, S, S]; records attention maps when `trace` is given. */
  ImageQueries encode_image(const at::Tensor& pixels, QFormerTrace* trace = nullptr);
  /** The same over image tokens [B, N, D] that the vision model has made. */
  ImageQueries encode_image_tokens(const at::Tensor& image_tokens, QFormerTrace* trace = nullptr);
  /** Contrastive features [B, Q, E], L2-normalised, of query outputs. */
  at::Tensor image_features(const at::Tensor& query_output);
  /** Text-only pass: hidden states [B, T, H]. */
  at::Tensor encode_text(const TextTokens& text, QFormerTrace* trace = nullptr);
  /** Contrastive features [B, E], L2-normalised, of the [CLS] row of hidden states. */
  at::Tensor text_features(const at::Tensor& text_output);
  /** The same of every token: [B, T, E]. */
  at::Tensor text_token_features(const at::Tensor& text_output);
  /** Queries [B, Q, H] that have read a text beside the picture (memory rows): multimodal features. */
  at::Tensor encode_pair(const std::vector<KeyValue>& image_memory, const TextTokens& text,
                         QFormerTrace* trace = nullptr);
  /** Per-query matching logits [B, Q, 2] of pictures (memory rows) and texts; average with matching_logits(). */
  at::Tensor match(const std::vector<KeyValue>& image_memory, const TextTokens& text, QFormerTrace* trace = nullptr);
  /** Next-token logits [B, T, V] of texts that begin with [DEC], given the queries' keys and values. */
  at::Tensor generation_logits(const std::vector<KeyValue>& query_memory, const TextTokens& text,
                               QFormerTrace* trace = nullptr);

  const Blip2Options& options() const { return options_; }

  std::shared_ptr<VisionEncoderImpl> vision_model;
  at::Tensor query_tokens;  // [1, Q, H]
  TextEmbeddings embeddings{nullptr};
  QFormer qformer{nullptr};
  Linear vision_projection{nullptr}, text_projection{nullptr}, itm_head{nullptr};
  ItgHead itg_head{nullptr};
  at::Tensor temperature;  // scalar, divides the similarities

 private:
  /** What the passes of a step share, computed and differentiated once. */
  struct SharedInputs {
    at::Tensor image_tokens;                   // [B, N, D]
    std::vector<KeyValue> image_memory;        // per cross-attention layer
    at::Tensor text_embeds, generated_embeds;  // [B, T, H], before the Q-Former; the second begins with [DEC]
  };
  SharedInputs shared_inputs(const RepresentationBatch& batch, std::int64_t decoder_start_id);
  /** One pass for the losses of contrast and generation, and negatives that contrast finds hard. */
  void contrast_and_generate(const RepresentationBatch& batch, const SharedInputs& shared,
                             const RepresentationOptions& options, const std::shared_ptr<ProcessGroup>& group,
                             RepresentationLosses& result);
  /** Another for matches, negative pictures and negative texts: the loss and logits [3 B, 2] of matching. */
  void match_triples(const RepresentationBatch& batch, const SharedInputs& shared,
                     const std::shared_ptr<ProcessGroup>& group, RepresentationLosses& result);
  /** `image_rows`: which row of the memory each text is paired with; undefined: its own. */
  at::Tensor encode_pair_embeds(const std::vector<KeyValue>& image_memory, const at::Tensor& image_rows,
                                const at::Tensor& text_embeds, const at::Tensor& text_mask, QFormerTrace* trace);
  at::Tensor expand_queries(std::int64_t batch) const { return query_tokens.expand({batch, -1, -1}); }
  static std::vector<at::Tensor*> tensors_of(SharedInputs& shared);
  at::Tensor generation_loss(const RepresentationBatch& batch, const at::Tensor& text_output, double label_smoothing);

  Blip2Options options_;
};
TORCH_MODULE(Blip2QFormer);

}  // namespace blip2
