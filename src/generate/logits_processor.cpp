// Penalties, biases and forbidden tokens (Hugging Face specification, section 7.3), and the order of all processors.
// Small decisions per row (n-grams, word tails) are made on the CPU; scores stay where the model is.
#include "blip2/generate/logits_processor.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace blip2 {
namespace {

constexpr double kForbidden = -std::numeric_limits<double>::infinity();

at::Tensor as_index(const std::vector<std::int64_t>& values, const at::Tensor& scores) {
  return at::tensor(values, at::kLong).to(scores.device());
}

/** Scores of ids int64 [R, N] of each row: multiplied by the penalty where negative, divided where positive. */
at::Tensor penalise(const at::Tensor& scores, const at::Tensor& ids, double penalty) {
  const at::Tensor index = ids.to(scores.device());
  const at::Tensor said = scores.gather(1, index);
  return scores.scatter(1, index, at::where(said < 0, said * penalty, said / penalty));
}

/** Collects (row, token) pairs and sets them to -infinity. */
class Bans {
 public:
  void add(std::int64_t row, std::int64_t token) {
    rows_.push_back(row);
    tokens_.push_back(token);
  }
  at::Tensor apply(const at::Tensor& scores) const {
    if (rows_.empty()) return scores;
    at::Tensor result = scores.clone();
    return result.index_put_({as_index(rows_, scores), as_index(tokens_, scores)},
                             at::scalar_tensor(kForbidden, scores.options()));
  }

 private:
  std::vector<std::int64_t> rows_;
  std::vector<std::int64_t> tokens_;
};

/** Bans each token that followed, in `text`, the last size - 1 ids of `said`. */
void ban_continuations(const std::int64_t* text, std::int64_t text_length, const std::int64_t* said,
                       std::int64_t said_length, std::int64_t size, std::int64_t row, Bans& bans) {
  if (said_length + 1 < size) return;
  const std::int64_t* tail = said + said_length - (size - 1);
  for (std::int64_t i = 0; i + size <= text_length; ++i) {
    if (std::equal(tail, tail + size - 1, text + i)) bans.add(row, text[i + size - 1]);
  }
}

class RepetitionPenalty final : public LogitsProcessor {
 public:
  explicit RepetitionPenalty(double penalty) : penalty_(penalty) {}
  at::Tensor operator()(const History& history, const at::Tensor& scores) const override {
    if (history.ids.size(1) == 0) return scores;
    at::Tensor ids = history.ids;
    if (history.padding.defined()) {
      // A padding id counts as the row's last id: the same penalty is written twice.
      const at::Tensor position = at::arange(ids.size(1), at::kLong);
      ids = at::where(position.unsqueeze(0) < history.padding.unsqueeze(1), ids.slice(1, -1), ids);
    }
    return penalise(scores, ids, penalty_);
  }
  const char* name() const override { return "repetition_penalty"; }

 private:
  double penalty_;
};

class EncoderRepetitionPenalty final : public LogitsProcessor {
 public:
  explicit EncoderRepetitionPenalty(double penalty) : penalty_(1.0 / penalty) {}
  at::Tensor operator()(const History& history, const at::Tensor& scores) const override {
    return penalise(scores, history.encoder_ids, penalty_);
  }
  const char* name() const override { return "encoder_repetition_penalty"; }

 private:
  double penalty_;
};

class NoRepeatNgram final : public LogitsProcessor {
 public:
  /** `of_encoder`: n-grams of the encoder's ids are forbidden instead of those already said. */
  NoRepeatNgram(std::int64_t size, bool of_encoder) : size_(size), of_encoder_(of_encoder) {}
  at::Tensor operator()(const History& history, const at::Tensor& scores) const override {
    const at::Tensor said = history.ids.contiguous();
    const at::Tensor text = of_encoder_ ? history.encoder_ids.contiguous() : said;
    Bans bans;
    for (std::int64_t row = 0; row < scores.size(0); ++row) {
      ban_continuations(text.const_data_ptr<std::int64_t>() + row * text.size(1), text.size(1),
                        said.const_data_ptr<std::int64_t>() + row * said.size(1), said.size(1), size_, row, bans);
    }
    return bans.apply(scores);
  }
  const char* name() const override { return of_encoder_ ? "encoder_no_repeat_ngram_size" : "no_repeat_ngram_size"; }

 private:
  std::int64_t size_;
  bool of_encoder_;
};

/** Adds a bias to the last id of a sequence whose other ids have just been said; bad words have the bias -infinity. */
class AddSequenceBias final : public LogitsProcessor {
 public:
  AddSequenceBias(std::vector<SequenceBias> sequences, const char* name)
      : sequences_(std::move(sequences)), name_(name) {}
  at::Tensor operator()(const History& history, const at::Tensor& scores) const override {
    const at::Tensor ids = history.ids.contiguous();
    const std::int64_t length = ids.size(1);
    at::Tensor bias = at::zeros(scores.sizes(), at::kFloat);
    float* values = bias.data_ptr<float>();
    for (const auto& sequence : sequences_) {
      const auto prefix = static_cast<std::int64_t>(sequence.ids.size()) - 1;
      // The reference looks at longer sequences only once the row is as long as they are.
      if (prefix > 0 && prefix + 1 > length) continue;
      for (std::int64_t row = 0; row < ids.size(0); ++row) {
        const std::int64_t* end = ids.const_data_ptr<std::int64_t>() + (row + 1) * length;
        if (std::equal(end - prefix, end, sequence.ids.begin())) {
          values[row * scores.size(1) + sequence.ids.back()] += static_cast<float>(sequence.bias);
        }
      }
    }
    return scores + bias.to(scores.device());
  }
  const char* name() const override { return name_; }

 private:
  std::vector<SequenceBias> sequences_;
  const char* name_;
};

/** Forbids tokens as long as the row is shorter than `length`, or (kExactly) only when it is exactly as long. */
class Suppress final : public LogitsProcessor {
 public:
  enum class When { kShorter, kExactly };
  Suppress(std::vector<std::int64_t> tokens, When when, std::int64_t length, const char* name)
      : tokens_(std::move(tokens)), when_(when), length_(length), name_(name) {}
  at::Tensor operator()(const History& history, const at::Tensor& scores) const override {
    const std::int64_t length = history.ids.size(1);
    if (when_ == When::kShorter ? length >= length_ : length != length_) return scores;
    return scores.index_fill(1, as_index(tokens_, scores), kForbidden);
  }
  const char* name() const override { return name_; }

 private:
  std::vector<std::int64_t> tokens_;
  When when_;
  std::int64_t length_;
  const char* name_;
};

class ForcedEnd final : public LogitsProcessor {
 public:
  ForcedEnd(std::int64_t end, std::int64_t max_length) : end_(end), max_length_(max_length) {}
  at::Tensor operator()(const History& history, const at::Tensor& scores) const override {
    if (history.ids.size(1) != max_length_ - 1) return scores;
    return at::full_like(scores, kForbidden).index_fill_(1, as_index({end_}, scores), 0.0);
  }
  const char* name() const override { return "forced_eos_token_id"; }

 private:
  std::int64_t end_;
  std::int64_t max_length_;
};

class ExponentialDecay final : public LogitsProcessor {
 public:
  ExponentialDecay(std::int64_t start, double factor, std::int64_t end) : start_(start), factor_(factor), end_(end) {}
  at::Tensor operator()(const History& history, const at::Tensor& scores) const override {
    const std::int64_t excess = history.ids.size(1) - start_;
    if (excess <= 0) return scores;
    const at::Tensor end = scores.select(1, end_);
    const at::Tensor raised = end + end.abs() * (std::pow(factor_, static_cast<double>(excess)) - 1.0);
    at::Tensor result = scores.clone();
    result.select(1, end_).copy_(at::where(end.isinf(), end, raised));  // forbidden stays forbidden: -inf + inf is NaN
    return result;
  }
  const char* name() const override { return "exponential_decay"; }

 private:
  std::int64_t start_;
  double factor_;
  std::int64_t end_;
};

class Renormalise final : public LogitsProcessor {
 public:
  at::Tensor operator()(const History&, const at::Tensor& scores) const override { return at::log_softmax(scores, -1); }
  const char* name() const override { return "renormalize_logits"; }
};

/** The end token alone cannot be a bad word. */
std::vector<SequenceBias> bad_words(const GenerationOptions& options, std::int64_t end) {
  std::vector<SequenceBias> result;
  for (const auto& word : options.bad_words_ids) {
    if (word.size() > 1 || word.front() != end) result.push_back({word, kForbidden});
  }
  return result;
}

constexpr std::int64_t kAlways = std::numeric_limits<std::int64_t>::max();

}  // namespace

LogitsProcessors make_logits_processors(const GenerationOptions& options, const LengthLimits& limits,
                                        std::int64_t end) {
  using When = Suppress::When;
  LogitsProcessors list;
  const auto add = [&list](auto processor) {
    list.push_back(std::make_unique<decltype(processor)>(std::move(processor)));
  };

  if (!options.sequence_bias.empty()) add(AddSequenceBias(options.sequence_bias, "sequence_bias"));
  if (options.encoder_repetition_penalty != 1.0) add(EncoderRepetitionPenalty(options.encoder_repetition_penalty));
  if (options.repetition_penalty != 1.0) add(RepetitionPenalty(options.repetition_penalty));
  if (options.no_repeat_ngram_size > 0) add(NoRepeatNgram(options.no_repeat_ngram_size, false));
  if (options.encoder_no_repeat_ngram_size > 0) add(NoRepeatNgram(options.encoder_no_repeat_ngram_size, true));
  if (auto words = bad_words(options, end); !words.empty()) add(AddSequenceBias(std::move(words), "bad_words_ids"));
  if (limits.min_length > 0 && end >= 0) add(Suppress({end}, When::kShorter, limits.min_length, "min_length"));
  if (options.forced_eos_token_id) add(ForcedEnd(*options.forced_eos_token_id, limits.max_length));
  if (options.exponential_decay_start && end >= 0) {
    add(ExponentialDecay(limits.prompt_length + *options.exponential_decay_start, options.exponential_decay_factor,
                         end));
  }
  if (!options.suppress_tokens.empty()) {
    add(Suppress(options.suppress_tokens, When::kShorter, kAlways, "suppress_tokens"));
  }
  if (!options.begin_suppress_tokens.empty()) {
    add(Suppress(options.begin_suppress_tokens, When::kExactly, limits.prompt_length, "begin_suppress_tokens"));
  }
  if (options.do_sample) detail::append_sampling_processors(options, list);
  if (options.renormalize_logits) add(Renormalise());
  return list;
}

at::Tensor process(const LogitsProcessors& processors, const History& history, at::Tensor scores) {
  for (const auto& processor : processors) scores = (*processor)(history, scores);
  return scores;
}

}  // namespace blip2
