// The way into search: checks, length bookkeeping (Hugging Face specification, section 7.2), reading the prompt.
#include "blip2/generate/generate.h"

#include <ATen/ATen.h>
#include <ATen/Context.h>

#include <algorithm>
#include <string>

#include "blip2/core/error.h"
#include "generate/search.h"

namespace blip2 {
namespace {

constexpr std::int64_t kDefaultNewTokens = 20;

void check_shapes(const GenerationPrompt& prompt) {
  const at::Tensor& embeds = prompt.prompt.embeds;
  TORCH_CHECK(embeds.dim() == 3 && embeds.size(0) > 0, "generate: prompt embeds must be [B, T, width], got ",
              embeds.sizes());
  const auto check = [&embeds](const at::Tensor& ids, const char* name) {
    TORCH_CHECK(!ids.defined() || (ids.dim() == 2 && ids.size(0) == embeds.size(0) && ids.scalar_type() == at::kLong),
                "generate: ", name, " must be int64 [B, P] with B = ", embeds.size(0));
  };
  check(prompt.ids, "ids");
  check(prompt.ids_mask, "ids_mask");
  check(prompt.encoder_ids, "encoder_ids");
  TORCH_CHECK(!prompt.ids_mask.defined() || (prompt.ids.defined() && prompt.ids_mask.sizes() == prompt.ids.sizes()),
              "generate: ids_mask must have the shape of ids");
}

/** What the rows have said before the first new token. */
History prompt_history(const LanguageModel& model, const GenerationPrompt& prompt) {
  const std::int64_t rows = prompt.prompt.embeds.size(0);
  History history;
  if (prompt.ids.defined()) {
    history.ids = prompt.ids.cpu();
  } else if (model.is_encoder_decoder()) {
    history.ids = at::full({rows, 1}, model.special_ids().decoder_start, at::kLong);
  } else {
    history.ids = at::empty({rows, 0}, at::kLong);
  }
  if (prompt.ids_mask.defined()) {
    const at::Tensor padding = (prompt.ids_mask.cpu().cumsum(1) == 0).sum(1);
    if (padding.any().item<bool>()) history.padding = padding;
  }
  if (prompt.encoder_ids.defined()) history.encoder_ids = prompt.encoder_ids.cpu();
  return history;
}

LengthLimits length_limits(const LanguageModel& model, const GenerationPrompt& prompt, std::int64_t prompt_length,
                           const GenerationOptions& options) {
  const std::int64_t embeds_length = prompt.prompt.embeds.size(1);
  // Without ids of its own the prompt of a decoder still counts in max_length and min_length.
  const std::int64_t uncounted = prompt.ids.defined() || model.is_encoder_decoder() ? 0 : embeds_length;
  const std::int64_t taken = model.is_encoder_decoder() ? prompt_length : embeds_length;  // positions
  const std::int64_t positions = model.max_positions();

  std::int64_t new_tokens = kDefaultNewTokens;
  if (options.max_new_tokens) {
    new_tokens = *options.max_new_tokens;
  } else if (options.max_length) {
    new_tokens = *options.max_length - uncounted - prompt_length;
    if (new_tokens < 1) {
      throw UserError("generation: max_length is " + std::to_string(*options.max_length) + " and the prompt takes " +
                      std::to_string(uncounted + prompt_length) +
                      " ids, which leaves no room for an answer; raise max_length or give max_new_tokens");
    }
  } else if (positions >= 0) {
    new_tokens = std::clamp<std::int64_t>(positions - taken, 1, kDefaultNewTokens);
  }
  // The last new token is not fed back, hence - 1. Written so that a huge max_new_tokens cannot overflow.
  if (positions >= 0 && new_tokens - 1 > positions - taken) {
    throw UserError("generation: a prompt of " + std::to_string(taken) + " positions and " +
                    std::to_string(new_tokens) + " new tokens do not fit into the language model's " +
                    std::to_string(positions) + " positions; shorten the prompt or lower max_new_tokens");
  }
  LengthLimits limits;
  limits.prompt_length = prompt_length;
  limits.max_length = prompt_length + new_tokens;
  limits.min_length = options.min_new_tokens ? prompt_length + *options.min_new_tokens
                                             : std::max<std::int64_t>(options.min_length - uncounted, 0);
  return limits;
}

void check_encoder_options(const GenerationPrompt& prompt, const GenerationOptions& options) {
  const bool wanted = options.encoder_repetition_penalty != 1.0 || options.encoder_no_repeat_ngram_size > 0;
  if (!wanted || prompt.encoder_ids.defined()) return;
  throw UserError(
      "generation: encoder_repetition_penalty and encoder_no_repeat_ngram_size need the ids of an encoder's prompt, "
      "which this prompt does not have");
}

}  // namespace

namespace detail {

IdRows::IdRows(const History& prompt, std::int64_t capacity)
    : padding_(prompt.padding), encoder_ids_(prompt.encoder_ids), length_(prompt.ids.size(1)) {
  ids_ = at::zeros({prompt.ids.size(0), capacity}, at::kLong);
  ids_.narrow(1, 0, length_).copy_(prompt.ids);
}

History IdRows::history() const {
  return {ids_.narrow(1, 0, length_), padding_, encoder_ids_};
}

std::vector<std::int64_t> IdRows::row(std::int64_t r, std::int64_t from) const {
  const std::int64_t* begin = ids_.const_data_ptr<std::int64_t>() + r * ids_.size(1);
  return {begin + from, begin + length_};
}

void IdRows::select(const std::vector<std::int64_t>& rows) {
  const at::Tensor index = long_tensor(rows, at::kCPU);
  for (at::Tensor* tensor : {&ids_, &padding_, &encoder_ids_}) {
    if (tensor->defined()) *tensor = tensor->index_select(0, index);
  }
}

void IdRows::append(const std::vector<std::int64_t>& tokens) {
  std::int64_t* ids = ids_.data_ptr<std::int64_t>();
  for (std::size_t r = 0; r < tokens.size(); ++r)
    ids[static_cast<std::int64_t>(r) * ids_.size(1) + length_] = tokens[r];
  ++length_;
}

at::Tensor long_tensor(const std::vector<std::int64_t>& values, at::Device device) {
  return at::tensor(values, at::kLong).to(device);
}

void complete_rows(const History& prompt, std::int64_t fill, Generated& generated) {
  std::size_t longest = 0;
  for (const auto& row : generated) {
    for (const auto& hypothesis : row) longest = std::max(longest, hypothesis.new_tokens.size());
  }
  const auto prompt_length = static_cast<std::size_t>(prompt.ids.size(1));
  const at::Tensor ids = prompt.ids.contiguous();
  for (std::size_t b = 0; b < generated.size(); ++b) {
    const std::int64_t* begin = ids.const_data_ptr<std::int64_t>() + b * prompt_length;
    for (auto& hypothesis : generated[b]) {
      hypothesis.ids.assign(begin, begin + prompt_length);
      hypothesis.ids.insert(hypothesis.ids.end(), hypothesis.new_tokens.begin(), hypothesis.new_tokens.end());
      hypothesis.ids.resize(prompt_length + longest, fill);
    }
  }
}

}  // namespace detail

Generated generate(LanguageModel& model, const GenerationPrompt& prompt, const GenerationOptions& options,
                   const StepObserver& observer) {
  validate(options);
  check_shapes(prompt);
  check_encoder_options(prompt, options);
  const at::NoGradGuard no_grad;
  History history = prompt_history(model, prompt);
  const LengthLimits limits = length_limits(model, prompt, history.ids.size(1), options);
  const SpecialIds special = model.special_ids();

  auto [state, logits] = model.begin(prompt.prompt);
  validate_token_ids(options, logits.size(1));
  detail::Search search{model,
                        options,
                        observer,
                        limits,
                        special,
                        make_logits_processors(options, limits, special.end),
                        std::move(history),
                        std::move(state),
                        std::move(logits),
                        {}};
  if (options.do_sample) {
    // A generator of the logits' device without naming CUDA: the default one's copy, with a seed of its own.
    search.generator = at::globalContext().defaultGenerator(search.logits.device()).clone();
    search.generator->set_current_seed(static_cast<std::uint64_t>(options.seed));
  }
  return options.num_beams > 1 ? detail::beam_search(std::move(search)) : detail::token_search(std::move(search));
}

}  // namespace blip2
