// How an answer is searched for: lengths, beams, sampling, penalties and forbidden tokens, under the names and with the
// defaults of the reference's `generate` (Hugging Face specification, section 7). A value that switches an option off
// is its default. Surprise: sampling keeps only the 50 likeliest tokens unless top_k is 0.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "blip2/core/field_visitor.h"

namespace blip2 {

/** When beam search stops although `num_beams` hypotheses of a row are finished. */
enum class EarlyStopping {
  kNo,    // when no running beam of the present length would beat the worst finished one
  kYes,   // at once
  kNever  // only when no running beam could still win at the largest length
};

/** `bias` is added to the score of the last id wherever the ids before it have just been said. */
struct SequenceBias {
  std::vector<std::int64_t> ids;
  double bias = 0.0;
};

struct GenerationOptions {
  // Lengths. `*_new_tokens` count the answer alone, `*_length` the prompt's ids too. None set: 20 new tokens.
  std::optional<std::int64_t> max_new_tokens;
  std::optional<std::int64_t> max_length;
  std::optional<std::int64_t> min_new_tokens;
  std::int64_t min_length = 0;

  // Search. One beam: greedy or, with do_sample, plain sampling; length_penalty and early_stopping then change nothing.
  std::int64_t num_beams = 1;
  std::int64_t num_return_sequences = 1;
  EarlyStopping early_stopping = EarlyStopping::kNo;
  double length_penalty = 1.0;  // exponent of the length that a hypothesis' log-probability is divided by
  /** That length counts the prompt's ids and not the end token, as in transformers before 4.36 and so in LAVIS. */
  bool length_counts_prompt = false;
  bool do_sample = false;
  std::int64_t seed = 0;

  // Only with do_sample.
  double temperature = 1.0;
  std::int64_t top_k = 50;  // 0 = off
  double top_p = 1.0;
  double min_p = 0.0;
  double typical_p = 1.0;
  double epsilon_cutoff = 0.0;
  double eta_cutoff = 0.0;

  // Repetitions. The encoder's variants count the ids of an encoder-decoder's prompt.
  double repetition_penalty = 1.0;
  double encoder_repetition_penalty = 1.0;  // above 1 favours what the prompt says
  std::int64_t no_repeat_ngram_size = 0;
  std::int64_t encoder_no_repeat_ngram_size = 0;

  // Tokens. The first two are set by code: what they hold depends on the tokenizer.
  std::vector<std::vector<std::int64_t>> bad_words_ids;
  std::vector<SequenceBias> sequence_bias;
  std::vector<std::int64_t> suppress_tokens;
  std::vector<std::int64_t> begin_suppress_tokens;  // forbidden as the first new token
  std::optional<std::int64_t> forced_eos_token_id;  // the last token of an answer that reaches its largest length
  std::optional<std::int64_t>
      exponential_decay_start;  // new tokens after which the end token is favoured, more by each
  double exponential_decay_factor = 1.0;
  bool renormalize_logits = false;  // log-softmax after all of the above
};

/** Names every field but the two that only code can set; early_stopping reads "no", "yes" or "never". */
void visit_fields(FieldVisitor& visitor, GenerationOptions& options);

/** Throws UserError with one sentence for the first value or combination that makes no sense. */
void validate(const GenerationOptions& options);

/** Throws UserError when an option names a token id that a vocabulary of this size does not have. */
void validate_token_ids(const GenerationOptions& options, std::int64_t vocabulary);

}  // namespace blip2
