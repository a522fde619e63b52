// The seam between BLIP-2 and a frozen language model: five verbs (width, embed, loss, begin, step) and a decoding
// state whose rows search can reorder. Search (generate/) and the models know only this; OPT and T5 implement it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <utility>

namespace torch::nn {
class Module;
}

namespace blip2 {

/** What the language model is given in front of its answer: OPT continues it, T5 encodes it. */
struct Prompt {
  at::Tensor embeds;  // [B, T, width]
  at::Tensor mask;    // [B, T] int64, 1 = read, 0 = padding
};

/** Keys, values and positions of sequences that are being decoded; one row per sequence. */
class DecodingState {
 public:
  virtual ~DecodingState() = default;

  /** Row r continues what row rows[r] was; `rows` int64 [R] may repeat rows (to fan out into beams) or drop some. */
  virtual void reorder(const at::Tensor& rows) = 0;
};

/** Ids with a meaning of their own; -1 where the model has none. */
struct SpecialIds {
  std::int64_t padding = -1;
  std::int64_t beginning = -1;
  std::int64_t end = -1;
  std::int64_t decoder_start = -1;  // first input of an encoder-decoder's decoder
};

class LanguageModel {
 public:
  virtual ~LanguageModel() = default;

  /** Width of the prompt's rows (the language model's hidden size). */
  virtual std::int64_t width() const = 0;

  /** Token embeddings of ids int64 [B, T] -> [B, T, width]. */
  virtual at::Tensor embed(const at::Tensor& ids) = 0;

  /**
   * Mean cross entropy over labels int64 [B, L] that are not -100. OPT: labels belong to the last L rows of the prompt
   * and are shifted by one inside (position t predicts t + 1). T5: labels are the decoder's targets.
   */
  virtual at::Tensor loss(const Prompt& prompt, const at::Tensor& labels) = 0;

  /** Reads the prompt once; returns the state and the logits [B, vocabulary] of the first new token. */
  virtual std::pair<std::unique_ptr<DecodingState>, at::Tensor> begin(const Prompt& prompt) = 0;

  /** Feeds one token id per row, int64 [R]; returns the logits [R, vocabulary] of the next. */
  virtual at::Tensor step(DecodingState& state, const at::Tensor& ids) = 0;

  virtual SpecialIds special_ids() const = 0;
  /** True where the prompt goes to an encoder and the answer to a decoder (T5). */
  virtual bool is_encoder_decoder() const = 0;
  /** Positions that prompt and answer together may take; -1 = no limit. */
  virtual std::int64_t max_positions() const = 0;
  /** The module that holds the weights (for registration, freezing, loading). */
  virtual torch::nn::Module& module() = 0;
};

}  // namespace blip2
