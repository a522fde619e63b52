// Each rule of the generation options refuses what breaks it, with a sentence that says what to do.
#include "blip2/generate/options.h"

#include <limits>

#include "blip2/core/config.h"
#include "support/expect_error.h"

namespace blip2 {
namespace {

template <typename Change>
GenerationOptions with(Change change) {
  GenerationOptions options;
  change(options);
  return options;
}

#define EXPECT_REFUSED(change, text) EXPECT_USER_ERROR(validate(with([](GenerationOptions& o) { change; })), text)

TEST(GenerationOptions, DefaultsAreValid) {
  EXPECT_NO_THROW(validate(GenerationOptions{}));
}

TEST(GenerationOptions, RefuseLengthsThatMakeNoSense) {
  EXPECT_REFUSED(o.max_new_tokens = 0, "generation: max_new_tokens must be from 1 to 1048576, found 0");
  EXPECT_REFUSED(o.max_new_tokens = 1 << 30, "max_new_tokens must be from 1 to 1048576, found 1073741824");
  EXPECT_REFUSED(o.max_length = -3, "max_length must be from 1 to 1048576, found -3");
  EXPECT_REFUSED(o.min_new_tokens = -1, "min_new_tokens must be from 0 to 1048576, found -1");
  EXPECT_REFUSED(o.min_length = -1, "min_length must be from 0 to 1048576, found -1");
  EXPECT_REFUSED(o.max_length = 9; o.max_new_tokens = 9, "max_new_tokens and max_length are both set, give one");
  EXPECT_REFUSED(o.min_length = 9; o.min_new_tokens = 9, "min_new_tokens and min_length are both set, give one");
  EXPECT_REFUSED(o.min_new_tokens = 5; o.max_new_tokens = 4, "min_new_tokens is larger than max_new_tokens");
  EXPECT_REFUSED(o.min_length = 5; o.max_length = 4, "min_length is larger than max_length");
}

TEST(GenerationOptions, RefuseSearchesThatMakeNoSense) {
  EXPECT_REFUSED(o.num_beams = 0, "num_beams must be from 1 to 1024, found 0");
  EXPECT_REFUSED(o.num_beams = std::numeric_limits<std::int64_t>::max(), "num_beams must be from 1 to 1024, found 9");
  EXPECT_REFUSED(o.num_return_sequences = 0, "num_return_sequences must be from 1 to 65536, found 0");
  EXPECT_REFUSED(o.num_beams = 2; o.num_return_sequences = 3, "num_return_sequences (3) is larger than num_beams (2)");
  EXPECT_REFUSED(o.num_return_sequences = 2, "greedy search has one answer, set num_beams or do_sample");
  EXPECT_REFUSED(o.length_penalty = std::numeric_limits<double>::infinity(), "length_penalty must be a finite number");
}

TEST(GenerationOptions, RefuseSamplingThatMakesNoSense) {
  EXPECT_REFUSED(o.do_sample = true; o.temperature = 0.0, "temperature must be above 0, found 0");
  EXPECT_REFUSED(o.do_sample = true;
                 o.temperature = std::numeric_limits<double>::quiet_NaN(), "temperature must be above 0, found nan");
  EXPECT_REFUSED(o.do_sample = true; o.top_k = -1, "top_k must be 0 (off) or more, found -1");
  EXPECT_REFUSED(o.do_sample = true; o.top_p = 0.0, "top_p must be above 0 and at most 1, found 0");
  EXPECT_REFUSED(o.do_sample = true; o.top_p = 1.5, "top_p must be above 0 and at most 1, found 1.5");
  EXPECT_REFUSED(o.do_sample = true; o.min_p = -0.1, "min_p must be between 0 and 1, found -0.1");
  EXPECT_REFUSED(o.do_sample = true; o.typical_p = 0.0, "typical_p must be above 0 and at most 1, found 0");
  EXPECT_REFUSED(o.do_sample = true; o.epsilon_cutoff = 1.0, "epsilon_cutoff must be at least 0 and below 1, found 1");
  EXPECT_REFUSED(o.do_sample = true; o.eta_cutoff = -1.0, "eta_cutoff must be at least 0 and below 1, found -1");
}

TEST(GenerationOptions, RefuseSamplingOptionsWithoutSampling) {
  EXPECT_REFUSED(o.temperature = 0.7,
                 "temperature has no effect without sampling, set do_sample to true or leave it out");
  EXPECT_REFUSED(o.top_k = 5, "top_k has no effect without sampling");
  EXPECT_REFUSED(o.top_p = 0.9, "top_p has no effect without sampling");
  EXPECT_REFUSED(o.min_p = 0.1, "min_p has no effect without sampling");
  EXPECT_REFUSED(o.typical_p = 0.9, "typical_p has no effect without sampling");
  EXPECT_REFUSED(o.epsilon_cutoff = 0.1, "epsilon_cutoff has no effect without sampling");
  EXPECT_REFUSED(o.eta_cutoff = 0.1, "eta_cutoff has no effect without sampling");
  EXPECT_NO_THROW(validate(with([](GenerationOptions& o) { o.top_k = 0; })));
}

TEST(GenerationOptions, RefusePenaltiesThatMakeNoSense) {
  EXPECT_REFUSED(o.repetition_penalty = 0.0, "repetition_penalty must be above 0, found 0");
  EXPECT_REFUSED(o.encoder_repetition_penalty = -1.0, "encoder_repetition_penalty must be above 0, found -1");
  EXPECT_REFUSED(o.no_repeat_ngram_size = -1, "no_repeat_ngram_size must be from 0 (off) to 1048576, found -1");
  EXPECT_REFUSED(o.encoder_no_repeat_ngram_size = -1,
                 "encoder_no_repeat_ngram_size must be from 0 (off) to 1048576, found -1");
  EXPECT_REFUSED(o.exponential_decay_start = -1, "exponential_decay_start must be from 0 to 1048576, found -1");
  EXPECT_REFUSED(o.exponential_decay_start = 1;
                 o.exponential_decay_factor = 0.0, "exponential_decay_factor must be above 0, found 0");
  EXPECT_REFUSED(o.exponential_decay_factor = 1.1,
                 "exponential_decay_factor has no effect without exponential_decay_start");
  EXPECT_REFUSED(o.bad_words_ids = {{}}, "bad_words_ids holds an empty sequence");
  EXPECT_REFUSED(o.sequence_bias.push_back({}), "sequence_bias holds an empty sequence");
  EXPECT_REFUSED(o.sequence_bias.push_back({{1}, std::numeric_limits<double>::infinity()}),
                 "sequence_bias must be a finite number, found inf");
}

TEST(GenerationOptions, RefuseTokensOutsideTheVocabulary) {
  const auto check = [](auto change) { validate_token_ids(with(change), 10); };
  EXPECT_USER_ERROR(check([](GenerationOptions& o) {
                      o.bad_words_ids = {{1, 10}};
                    }),
                    "generation: bad_words_ids names token 10, the vocabulary has ids 0 to 9");
  EXPECT_USER_ERROR(check([](GenerationOptions& o) {
                      o.sequence_bias = {{{-1}, 1.0}};
                    }),
                    "sequence_bias names token -1");
  EXPECT_USER_ERROR(check([](GenerationOptions& o) { o.suppress_tokens = {11}; }), "suppress_tokens names token 11");
  EXPECT_USER_ERROR(check([](GenerationOptions& o) { o.begin_suppress_tokens = {10}; }),
                    "begin_suppress_tokens names token 10");
  EXPECT_USER_ERROR(check([](GenerationOptions& o) { o.forced_eos_token_id = 10; }),
                    "forced_eos_token_id names token 10");
  EXPECT_NO_THROW(check([](GenerationOptions& o) { o.suppress_tokens = {0, 9}; }));
}

TEST(GenerationOptions, SurviveJson) {
  GenerationOptions options;
  options.max_new_tokens = 30;
  options.early_stopping = EarlyStopping::kNever;
  options.length_penalty = -1.0;
  options.suppress_tokens = {4, 5};
  const nlohmann::json written = write_config(options);
  EXPECT_EQ(written["early_stopping"], "never");
  GenerationOptions read;
  read_config(written, read, "test.json");
  EXPECT_EQ(write_config(read), written);
  EXPECT_EQ(read.early_stopping, EarlyStopping::kNever);
  EXPECT_EQ(read.max_new_tokens, 30);
}

TEST(GenerationOptions, RefuseAnUnknownWayToStopEarly) {
  GenerationOptions options;
  EXPECT_USER_ERROR(read_config({{"early_stopping", "soon"}}, options, "test.json"),
                    "early_stopping must be \"no\", \"yes\" or \"never\", found \"soon\"");
}

}  // namespace
}  // namespace blip2
