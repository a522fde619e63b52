// What stands between the language model's scores and the choice of a token: penalties, forbidden tokens, truncation
// for sampling, in the reference's order (Hugging Face specification, section 7.3). Surprise: in beam search they act
// on log-probabilities, otherwise on raw logits, so that a repetition penalty is not the same thing in the two.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "blip2/generate/options.h"

namespace blip2 {

/** What the rows of a step have said so far; all on the CPU. */
struct History {
  at::Tensor ids;          // int64 [R, L], the prompt's ids first
  at::Tensor padding;      // int64 [R], ids at the very front that are padding; undefined = none
  at::Tensor encoder_ids;  // int64 [R, E], what an encoder-decoder's prompt said; undefined = unknown
};

class LogitsProcessor {
 public:
  virtual ~LogitsProcessor() = default;
  /** Scores float32 [R, vocabulary] -> the same shape; a forbidden token gets -infinity. The input is left alone. */
  virtual at::Tensor operator()(const History& history, const at::Tensor& scores) const = 0;
  /** The option that asked for it. */
  virtual const char* name() const = 0;
};

using LogitsProcessors = std::vector<std::unique_ptr<LogitsProcessor>>;

/** Lengths in ids, prompt included. */
struct LengthLimits {
  std::int64_t prompt_length = 0;
  std::int64_t min_length = 0;
  std::int64_t max_length = 0;
};

/** The processors that the options ask for, in the reference's order; `end` is the end token or -1. */
LogitsProcessors make_logits_processors(const GenerationOptions& options, const LengthLimits& limits, std::int64_t end);

/** Runs them one after the other. */
at::Tensor process(const LogitsProcessors& processors, const History& history, at::Tensor scores);

namespace detail {
/** The last block of the order, for sampling only: temperature, then what cuts the tail of unlikely tokens. */
void append_sampling_processors(const GenerationOptions& options, LogitsProcessors& processors);
}  // namespace detail

}  // namespace blip2
