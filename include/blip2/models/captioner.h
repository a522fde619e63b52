// From pictures to sentences: the stage-2 model with its tokenizer and decoding, in one call; or the likeliest of given
// sentences.
#pragma once

#include <string>
#include <vector>

#include "blip2/generate/generate.h"
#include "blip2/generate/rank_answers.h"
#include "blip2/models/run_folder.h"

namespace blip2 {

struct Caption {
  std::string text;
  std::vector<std::int64_t> token_ids;  // of the answer, end token included
  double score = 0;                     // as generate() gives it
  std::vector<double> token_log_probabilities;
};

/**
 * Captions of pixels [B, 3, S, S], [B][num_return_sequences]. `prompt` stands in front of every answer ("a photo of",
 * or a question) and is not repeated in it. Throws UserError for options that make no sense.
 */
std::vector<std::vector<Caption>> caption_pictures(GeneratorModel& generator, const at::Tensor& pixels,
                                                   const std::string& prompt, const GenerationOptions& options);

/** What a search has found, as text. */
std::vector<std::vector<Caption>> captions_of(const Generated& generated, const Tokenizer& tokenizer);

/** An answer as the language model would say it, end token included: OPT after a space, T5 from the start. */
std::vector<std::int64_t> answer_token_ids(const GeneratorModel& generator, const std::string& answer);

struct RankedAnswer {
  std::string text;
  std::vector<std::int64_t> token_ids;
  AnswerScore score;
};

/**
 * The given answers for each of pixels [B, 3, S, S], likeliest first: multiple choice and closed-set questions. Throws
 * UserError for an answer that is empty or too long.
 */
std::vector<std::vector<RankedAnswer>> rank_given_answers(GeneratorModel& generator, const at::Tensor& pixels,
                                                          const std::string& prompt,
                                                          const std::vector<std::string>& answers, RankBy by);

}  // namespace blip2
