// The rules of each option and of their combinations. The reference warns about most of these and goes on.
#include "blip2/generate/options.h"

#include <cmath>
#include <sstream>
#include <string>

#include "blip2/core/error.h"

namespace blip2 {
namespace {

// Tokens: more than any model writes, and what fits into memory for some beams.
constexpr std::int64_t kLongest = std::int64_t{1} << 20;
constexpr std::int64_t kMostBeams = 1024, kMostAnswers = 65536;

/** "generation: `name` must be `rule`, found `value`". */
template <typename Value>
void require(bool holds, const char* name, const char* rule, const Value& value) {
  if (holds) return;
  std::ostringstream text;
  text << "generation: " << name << " must be " << rule << ", found " << value;
  throw UserError(text.str());
}

void refuse(bool wrong, const std::string& sentence) {
  if (wrong) throw UserError("generation: " + sentence);
}

bool in_open_unit(double value) {
  return value > 0.0 && value <= 1.0;
}

bool is_positive(double value) {
  return value > 0.0 && std::isfinite(value);
}

void validate_lengths(const GenerationOptions& options) {
  if (options.max_new_tokens)
    require(*options.max_new_tokens >= 1 && *options.max_new_tokens <= kLongest, "max_new_tokens", "from 1 to 1048576",
            *options.max_new_tokens);
  if (options.max_length) {
    require(*options.max_length >= 1 && *options.max_length <= kLongest, "max_length", "from 1 to 1048576",
            *options.max_length);
  }
  if (options.min_new_tokens)
    require(*options.min_new_tokens >= 0 && *options.min_new_tokens <= kLongest, "min_new_tokens", "from 0 to 1048576",
            *options.min_new_tokens);
  require(options.min_length >= 0 && options.min_length <= kLongest, "min_length", "from 0 to 1048576",
          options.min_length);
  refuse(options.max_new_tokens && options.max_length,
         "max_new_tokens and max_length are both set, give one (max_length counts the prompt too)");
  refuse(options.min_new_tokens && options.min_length > 0,
         "min_new_tokens and min_length are both set, give one (min_length counts the prompt too)");
  refuse(options.max_new_tokens && options.min_new_tokens && *options.min_new_tokens > *options.max_new_tokens,
         "min_new_tokens is larger than max_new_tokens");
  refuse(options.max_length && options.min_length > *options.max_length, "min_length is larger than max_length");
}

void validate_search(const GenerationOptions& options) {
  require(options.num_beams >= 1 && options.num_beams <= kMostBeams, "num_beams", "from 1 to 1024", options.num_beams);
  require(options.num_return_sequences >= 1 && options.num_return_sequences <= kMostAnswers, "num_return_sequences",
          "from 1 to 65536", options.num_return_sequences);
  refuse(options.num_beams > 1 && options.num_return_sequences > options.num_beams,
         "num_return_sequences (" + std::to_string(options.num_return_sequences) + ") is larger than num_beams (" +
             std::to_string(options.num_beams) + ")");
  refuse(options.num_beams == 1 && options.num_return_sequences > 1 && !options.do_sample,
         "greedy search has one answer, set num_beams or do_sample for num_return_sequences above 1");
  require(std::isfinite(options.length_penalty), "length_penalty", "a finite number", options.length_penalty);
}

void validate_sampling(const GenerationOptions& options) {
  require(is_positive(options.temperature), "temperature", "above 0", options.temperature);
  require(options.top_k >= 0, "top_k", "0 (off) or more", options.top_k);
  require(in_open_unit(options.top_p), "top_p", "above 0 and at most 1", options.top_p);
  require(options.min_p >= 0.0 && options.min_p <= 1.0, "min_p", "between 0 and 1", options.min_p);
  require(in_open_unit(options.typical_p), "typical_p", "above 0 and at most 1", options.typical_p);
  require(options.epsilon_cutoff >= 0.0 && options.epsilon_cutoff < 1.0, "epsilon_cutoff", "at least 0 and below 1",
          options.epsilon_cutoff);
  require(options.eta_cutoff >= 0.0 && options.eta_cutoff < 1.0, "eta_cutoff", "at least 0 and below 1",
          options.eta_cutoff);
  if (options.do_sample) return;
  const GenerationOptions off;
  const auto unused = [](bool changed, const char* name) {
    refuse(changed, std::string(name) + " has no effect without sampling, set do_sample to true or leave it out");
  };
  unused(options.temperature != off.temperature, "temperature");
  unused(options.top_k != off.top_k && options.top_k != 0, "top_k");
  unused(options.top_p != off.top_p, "top_p");
  unused(options.min_p != off.min_p, "min_p");
  unused(options.typical_p != off.typical_p, "typical_p");
  unused(options.epsilon_cutoff != off.epsilon_cutoff, "epsilon_cutoff");
  unused(options.eta_cutoff != off.eta_cutoff, "eta_cutoff");
}

void validate_penalties(const GenerationOptions& options) {
  require(is_positive(options.repetition_penalty), "repetition_penalty", "above 0", options.repetition_penalty);
  require(is_positive(options.encoder_repetition_penalty), "encoder_repetition_penalty", "above 0",
          options.encoder_repetition_penalty);
  const auto is_ngram = [](std::int64_t size) { return size >= 0 && size <= kLongest; };
  require(is_ngram(options.no_repeat_ngram_size), "no_repeat_ngram_size", "from 0 (off) to 1048576",
          options.no_repeat_ngram_size);
  require(is_ngram(options.encoder_no_repeat_ngram_size), "encoder_no_repeat_ngram_size", "from 0 (off) to 1048576",
          options.encoder_no_repeat_ngram_size);
  if (options.exponential_decay_start) {
    require(*options.exponential_decay_start >= 0 && *options.exponential_decay_start <= kLongest,
            "exponential_decay_start", "from 0 to 1048576", *options.exponential_decay_start);
  }
  require(is_positive(options.exponential_decay_factor), "exponential_decay_factor", "above 0",
          options.exponential_decay_factor);
  refuse(!options.exponential_decay_start && options.exponential_decay_factor != 1.0,
         "exponential_decay_factor has no effect without exponential_decay_start");
  for (const auto& word : options.bad_words_ids) refuse(word.empty(), "bad_words_ids holds an empty sequence");
  for (const auto& sequence : options.sequence_bias) {
    refuse(sequence.ids.empty(), "sequence_bias holds an empty sequence");
    require(std::isfinite(sequence.bias), "sequence_bias", "a finite number", sequence.bias);
  }
}

const char* name_of(EarlyStopping value) {
  if (value == EarlyStopping::kYes) return "yes";
  return value == EarlyStopping::kNever ? "never" : "no";
}

}  // namespace

void visit_fields(FieldVisitor& visitor, GenerationOptions& options) {
  visitor.field("max_new_tokens", options.max_new_tokens);
  visitor.field("max_length", options.max_length);
  visitor.field("min_new_tokens", options.min_new_tokens);
  visitor.field("min_length", options.min_length);
  visitor.field("num_beams", options.num_beams);
  visitor.field("num_return_sequences", options.num_return_sequences);
  std::string early_stopping = name_of(options.early_stopping);
  visitor.field("early_stopping", early_stopping);
  require(early_stopping == "no" || early_stopping == "yes" || early_stopping == "never", "early_stopping",
          "\"no\", \"yes\" or \"never\"", '"' + early_stopping + '"');
  options.early_stopping = early_stopping == "yes"     ? EarlyStopping::kYes
                           : early_stopping == "never" ? EarlyStopping::kNever
                                                       : EarlyStopping::kNo;
  visitor.field("length_penalty", options.length_penalty);
  visitor.field("length_counts_prompt", options.length_counts_prompt);
  visitor.field("do_sample", options.do_sample);
  visitor.field("seed", options.seed);
  visitor.field("temperature", options.temperature);
  visitor.field("top_k", options.top_k);
  visitor.field("top_p", options.top_p);
  visitor.field("min_p", options.min_p);
  visitor.field("typical_p", options.typical_p);
  visitor.field("epsilon_cutoff", options.epsilon_cutoff);
  visitor.field("eta_cutoff", options.eta_cutoff);
  visitor.field("repetition_penalty", options.repetition_penalty);
  visitor.field("encoder_repetition_penalty", options.encoder_repetition_penalty);
  visitor.field("no_repeat_ngram_size", options.no_repeat_ngram_size);
  visitor.field("encoder_no_repeat_ngram_size", options.encoder_no_repeat_ngram_size);
  visitor.field("suppress_tokens", options.suppress_tokens);
  visitor.field("begin_suppress_tokens", options.begin_suppress_tokens);
  visitor.field("forced_eos_token_id", options.forced_eos_token_id);
  visitor.field("exponential_decay_start", options.exponential_decay_start);
  visitor.field("exponential_decay_factor", options.exponential_decay_factor);
  visitor.field("renormalize_logits", options.renormalize_logits);
}

void validate(const GenerationOptions& options) {
  validate_lengths(options);
  validate_search(options);
  validate_sampling(options);
  validate_penalties(options);
}

void validate_token_ids(const GenerationOptions& options, std::int64_t vocabulary) {
  const auto check = [vocabulary](const char* name, const std::vector<std::int64_t>& ids) {
    for (const std::int64_t id : ids) {
      refuse(id < 0 || id >= vocabulary, std::string(name) + " names token " + std::to_string(id) +
                                             ", the vocabulary has ids 0 to " + std::to_string(vocabulary - 1));
    }
  };
  for (const auto& word : options.bad_words_ids) check("bad_words_ids", word);
  for (const auto& sequence : options.sequence_bias) check("sequence_bias", sequence.ids);
  check("suppress_tokens", options.suppress_tokens);
  check("begin_suppress_tokens", options.begin_suppress_tokens);
  if (options.forced_eos_token_id) check("forced_eos_token_id", {*options.forced_eos_token_id});
}

}  // namespace blip2
