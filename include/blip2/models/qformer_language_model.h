// The stage-1 model as a language model: having read a picture, its text side writes the caption from the queries' keys
// and values, word by word, as image-grounded text generation has taught it (LAVIS 5.4). Search knows it like any
// other.
#pragma once

#include <vector>

#include "blip2/lm/language_model.h"
#include "blip2/models/blip2_qformer.h"
#include "blip2/models/captioner.h"

namespace blip2 {

class QFormerLanguageModel final : public LanguageModel {
 public:
  /**
   * Writes about the B pictures whose queries have left `query_memory` (ImageQueries::self_attention_memory); prompts
   * then have B rows too. `special`: [PAD], [DEC] and [SEP] of the model's vocabulary.
   */
  QFormerLanguageModel(Blip2QFormer model, std::vector<KeyValue> query_memory, const SpecialIds& special);

  std::int64_t width() const override { return model_->options().qformer_config.hidden_size; }
  /** Words with the positions of a text's beginning; the Q-Former's LayerNorm comes later. */
  at::Tensor embed(const at::Tensor& ids) override { return model_->embeddings(ids); }
  /** Without label smoothing; labels belong to the last rows, as a decoder's do. */
  at::Tensor loss(const Prompt& prompt, const at::Tensor& labels) override;
  /** Rows must end at the last column (one [DEC] each, as a rule). */
  std::pair<std::unique_ptr<DecodingState>, at::Tensor> begin(const Prompt& prompt) override;
  at::Tensor step(DecodingState& state, const at::Tensor& ids) override;
  SpecialIds special_ids() const override { return special_; }
  bool is_encoder_decoder() const override { return false; }
  std::int64_t max_positions() const override { return model_->options().qformer_config.max_position_embeddings; }
  torch::nn::Module& module() override { return *model_; }

 private:
  /** Logits of every row, and the keys and values behind the queries'. */
  std::pair<at::Tensor, std::vector<KeyValue>> read(const at::Tensor& embeds, const at::Tensor& visible,
                                                    const std::vector<KeyValue>& memory);

  Blip2QFormer model_;
  std::vector<KeyValue> query_memory_;
  SpecialIds special_;
};

/**
 * Captions of pixels [B, 3, S, S] that the stage-1 model writes without a language model, [B][num_return_sequences].
 * LAVIS searches with num_beams 3, max_length 30 and min_length 10, where [DEC] counts. Throws UserError for options
 * that make no sense and for a model without [DEC] or the head for text generation.
 */
std::vector<std::vector<Caption>> caption_pictures(RepresentationModel& representation, const at::Tensor& pixels,
                                                   const GenerationOptions& options);

}  // namespace blip2
