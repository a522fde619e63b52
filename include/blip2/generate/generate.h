// Search for an answer: greedy, sampling, beam search and beam-sample over the LanguageModel interface alone (Hugging
// Face specification, sections 7.2 to 7.5). The prompt is read once per row, then its state is fanned out to the beams.
// Rows that are done leave the batch, except when sampling, where the random draws are those of a full batch, and when
// somebody observes the steps.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "blip2/generate/options.h"
#include "blip2/lm/language_model.h"

namespace blip2 {

/** What the answer follows, B rows. */
struct GenerationPrompt {
  Prompt prompt;
  /**
   * int64 [B, P], the prompt as ids: lengths and repetitions count them and output rows begin with them. Undefined: an
   * encoder-decoder begins with its start token; otherwise nothing counts, except that max_length and min_length still
   * mean all positions.
   */
  at::Tensor ids;
  at::Tensor ids_mask;  // int64 [B, P]; zeros at the very front are padding and not repetitions. Undefined = all ones
  at::Tensor encoder_ids;  // int64 [B, E] for the two encoder_* options of an encoder-decoder, or undefined
};

struct Hypothesis {
  std::vector<std::int64_t> ids;         // prompt ids, new tokens, filled up to the longest row
  std::vector<std::int64_t> new_tokens;  // up to and with the end token
  /** Sum of token_log_probabilities; in beam search divided by (number of new tokens)^length_penalty. */
  double score = 0.0;
  /** Of each new token, natural logarithm, after all processors (one beam: renormalised over what they left). */
  std::vector<double> token_log_probabilities;
};

/** [B][num_return_sequences]; of a beam search the best first. */
using Generated = std::vector<std::vector<Hypothesis>>;

/** The scores a step decided by, of every row, also of those that are done and go on unheard. */
struct StepScores {
  std::int64_t step = 0;
  /** float32 [B * beams or draws, vocabulary] after the processors; log-probabilities in beam search. */
  at::Tensor scores;
};
using StepObserver = std::function<void(const StepScores&)>;

/**
 * Searches answers to the prompt's rows; `observer` sees the scores of each step. No gradients are recorded.
 * Throws UserError for options that contradict each other or leave no room for an answer.
 */
Generated generate(LanguageModel& model, const GenerationPrompt& prompt, const GenerationOptions& options,
                   const StepObserver& observer = {});

}  // namespace blip2
