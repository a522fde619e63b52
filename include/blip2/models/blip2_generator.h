// Stage 2 (paper section 3.2, LAVIS 4): the query outputs, projected to the language model's width, are a soft prompt
// in front of the text. Parameter names are those of Hugging Face's Blip2ForConditionalGeneration. Vision and language
// model are frozen; Q-Former (without its text side), query tokens, post_layernorm and the projection learn.
#pragma once

#include <memory>

#include "blip2/lm/language_model.h"
#include "blip2/models/blip2_options.h"
#include "blip2/models/text_embeddings.h"
#include "blip2/qformer/qformer.h"

namespace blip2 {

/** What stage 2 learns from in one step. */
struct GenerationBatch {
  at::Tensor pixels;        // [B, 3, S, S] float
  at::Tensor tower_output;  // [B, N, D] of VisionEncoder::encode() in place of pixels
  /** OPT: the whole text, padded right. T5: what the encoder reads behind the picture. */
  TextTokens text;
  /** int64, -100 does not count. OPT: [B, T] beside the text's ids. T5: [B, L], the decoder's targets. */
  at::Tensor labels;
};

class Blip2GeneratorImpl : public torch::nn::Module {
 public:
  /** `language_weights` says how the language model's weights come into being. */
  explicit Blip2GeneratorImpl(const Blip2GeneratorOptions& options, const WeightOptions& language_weights = {});

  /** The language model's loss of the texts, given the pictures. */
  at::Tensor loss(const GenerationBatch& batch);

  /** Soft prompt [B, Q, width of the language model] of pixels [B, 3, S, S]. */
  at::Tensor project_image(const at::Tensor& pixels, QFormerTrace* trace = nullptr);

  /** The same of image tokens [B, N, D] that the vision model has made. */
  at::Tensor project_image_tokens(const at::Tensor& image_tokens, QFormerTrace* trace = nullptr);

  /** Soft prompt [B, Q, width] followed by embedded text, as the language model reads it. */
  Prompt prompt(const at::Tensor& image_prompt, const TextTokens& text);

  /**
   * The same for text whose ids hold Q placeholders `image_token_index` a row, wherever they stand (Hugging Face 3.3).
   * Throws UserError for a row with another number of them, or when the model has no such id.
   */
  Prompt prompt_with_placeholders(const at::Tensor& image_prompt, const TextTokens& text);

  /**
   * No gradients for image encoder and language model from now on; both stay in evaluation mode, but where the language
   * model is to drop out in training, as in LAVIS.
   */
  void freeze(bool language_model_dropout = false);
  void train(bool on = true) override;

  const Blip2GeneratorOptions& options() const { return options_; }

  std::shared_ptr<VisionEncoderImpl> vision_model;
  at::Tensor query_tokens;  // [1, Q, H]
  QFormer qformer{nullptr};
  Linear language_projection{nullptr};
  std::shared_ptr<LanguageModel> language_model;

 private:
  Blip2GeneratorOptions options_;
  bool frozen_ = false, language_model_dropout_ = false;
};
TORCH_MODULE(Blip2Generator);

/**
 * Labels for OPT: the text's own ids where they count. Not counted are padding and the first `prompt_length` tokens (a
 * prompt such as "a photo of" with its leading </s>; 0: everything counts, also the leading </s>).
 */
at::Tensor continuation_labels(const TextTokens& text, std::int64_t prompt_length);

}  // namespace blip2
