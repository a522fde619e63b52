#include "blip2/lm/t5.h"

#include <torch/torch.h>

#include <cmath>
#include <numeric>

#include "blip2/core/error.h"
#include "lm/prompt.h"
#include "lm/t5_stack.h"

namespace blip2 {
namespace {

/** The encoder's output as keys and values, and the decoder's cache, of sequences in decoding. */
struct T5State final : DecodingState {
  T5State(std::size_t layers, std::int64_t heads) : cache(layers, heads) {}

  T5Memory whole;   // one row for each row of the prompt, never changed
  T5Memory memory;  // what the rows read now; shares tensors with `whole` where it can
  KeyValueCache cache;
  std::vector<std::int64_t> prompt_rows;  // which row of the prompt each row reads

  void reorder(const at::Tensor& rows) override {
    const at::Tensor here = rows.to(whole.layers.front().key.device());
    cache.reorder(here);
    const at::Tensor on_host = rows.to(at::kCPU, at::kLong).contiguous();
    std::vector<std::int64_t> chosen;
    for (std::int64_t i = 0; i < on_host.size(0); ++i) {
      chosen.push_back(prompt_rows.at(static_cast<std::size_t>(on_host.data_ptr<std::int64_t>()[i])));
    }
    // A beam search permutes the beams of a prompt among themselves: then there is nothing to do.
    if (chosen == prompt_rows) return;
    prompt_rows = std::move(chosen);
    read_in_groups();
  }

  /** Rows that read the same prompt side by side, all in groups of one size, share one row of the memory. */
  void read_in_groups() {
    const auto rows = static_cast<std::int64_t>(prompt_rows.size());
    const std::int64_t size = group_size();
    std::vector<std::int64_t> leaders;
    for (std::int64_t i = 0; i < rows; i += size) leaders.push_back(prompt_rows[static_cast<std::size_t>(i)]);
    memory.readers_of_each = size;
    std::vector<std::int64_t> all(static_cast<std::size_t>(whole.layers.front().key.size(0)));
    std::iota(all.begin(), all.end(), 0);
    const bool shares = leaders == all;
    const at::Tensor index =
        at::tensor(leaders, at::TensorOptions().dtype(at::kLong)).to(whole.layers.front().key.device());
    auto take = [&](const at::Tensor& tensor) { return shares ? tensor : tensor.index_select(0, index); };
    for (std::size_t i = 0; i < whole.layers.size(); ++i) {
      memory.layers[i] = {take(whole.layers[i].key), take(whole.layers[i].value)};
    }
    if (whole.mask.defined()) memory.mask = take(whole.mask);
  }

  /** The largest size for which every group reads one prompt. */
  std::int64_t group_size() const {
    std::int64_t size = 0, run = 0;
    for (std::size_t i = 0; i < prompt_rows.size(); ++i) {
      ++run;
      if (i + 1 < prompt_rows.size() && prompt_rows[i + 1] == prompt_rows[i]) continue;
      size = std::gcd(size, run);
      run = 0;
    }
    return std::max<std::int64_t>(size, 1);
  }
};

}  // namespace

T5LanguageModelImpl::T5LanguageModelImpl(const T5Options& options, const WeightOptions& weights)
    : torch::nn::Module("T5LanguageModel"), options_(options) {
  validate(options_);
  if (weights.dtype == at::kHalf) {
    throw UserError("T5 overflows in float16, for which it was not trained: choose bfloat16 or float32");
  }
  const double factor = options_.initializer_factor;
  shared_ = add_table(*this, "shared", options_.vocab_size, options_.d_model, factor, weights);
  encoder_ = std::make_unique<T5Stack>(*this, "encoder", options_, /*is_decoder=*/false, weights);
  decoder_ = std::make_unique<T5Stack>(*this, "decoder", options_, /*is_decoder=*/true, weights);
  // A tied head is the embedding: registered twice, LibTorch would list and train it twice.
  head_weight_ =
      options_.tie_word_embeddings
          ? shared_
          : add_linear(*this, "lm_head", options_.d_model, options_.vocab_size, false, factor, weights)->weight;
}

T5LanguageModelImpl::~T5LanguageModelImpl() = default;

at::ScalarType T5LanguageModelImpl::dtype() const {
  return encoder_->dtype();
}

at::Tensor T5LanguageModelImpl::embed(const at::Tensor& ids) {
  return at::embedding(shared_, ids).to(dtype());
}

at::Tensor T5LanguageModelImpl::head(const at::Tensor& hidden) const {
  const double scale = options_.scale_decoder_outputs ? 1.0 / std::sqrt(static_cast<double>(options_.d_model)) : 1.0;
  return apply_linear(scale == 1.0 ? hidden : hidden * scale, head_weight_);
}

at::Tensor T5LanguageModelImpl::encode(const Prompt& prompt, std::vector<at::Tensor>* hidden_states) {
  check_prompt(prompt, width());
  T5Pass pass;
  pass.padding = padding_mask(prompt.mask, dtype());
  pass.dropout = is_training() ? options_.dropout_rate : 0.0;
  pass.hidden_states = hidden_states;
  return encoder_->forward(prompt.embeds.to(dtype()), pass);
}

at::Tensor T5LanguageModelImpl::decoder_inputs(const at::Tensor& labels) const {
  TORCH_CHECK(labels.dim() == 2 && labels.size(1) > 0, "T5: expected labels [B, L], got ", labels.sizes());
  const at::Tensor start = at::full({labels.size(0), 1}, options_.decoder_start_token_id, labels.options());
  const at::Tensor shifted = at::cat({start, labels.narrow(1, 0, labels.size(1) - 1)}, 1);
  return shifted.masked_fill(shifted.eq(kIgnoredLabel), options_.pad_token_id);
}

at::Tensor T5LanguageModelImpl::decode(const Prompt& prompt, const at::Tensor& decoder_ids, T5Trace* trace,
                                       const at::Tensor& decoder_mask) {
  TORCH_CHECK(decoder_ids.dim() == 2 && decoder_ids.size(0) == prompt.embeds.size(0), "T5: expected decoder ids for ",
              prompt.embeds.size(0), " rows, got ", decoder_ids.sizes());
  const at::Tensor encoded = encode(prompt, trace != nullptr ? &trace->encoder_hidden_states : nullptr);
  const T5Memory memory = decoder_->memory(encoded, padding_mask(prompt.mask, encoded.scalar_type()));
  T5Pass pass;
  pass.memory = &memory;
  pass.dropout = is_training() ? options_.dropout_rate : 0.0;
  if (decoder_mask.defined()) pass.padding = padding_mask(decoder_mask, encoded.scalar_type());
  pass.hidden_states = trace != nullptr ? &trace->decoder_hidden_states : nullptr;
  return decoder_->forward(embed(decoder_ids), pass);
}

at::Tensor T5LanguageModelImpl::logits(const Prompt& prompt, const at::Tensor& decoder_ids, T5Trace* trace,
                                       const at::Tensor& decoder_mask) {
  return head(decode(prompt, decoder_ids, trace, decoder_mask));
}

at::Tensor T5LanguageModelImpl::loss(const Prompt& prompt, const at::Tensor& labels) {
  return mean_token_loss(decode(prompt, decoder_inputs(labels), nullptr), labels,
                         [this](const at::Tensor& rows) { return head(rows); });
}

std::pair<std::unique_ptr<DecodingState>, at::Tensor> T5LanguageModelImpl::begin(const Prompt& prompt) {
  torch::NoGradGuard no_grad;
  const at::Tensor encoded = encode(prompt, nullptr);
  auto state = std::make_unique<T5State>(decoder_->depth(), options_.num_heads);
  const bool padded = prompt.mask.eq(0).any().item<bool>();
  state->whole = decoder_->memory(encoded, padded ? padding_mask(prompt.mask, encoded.scalar_type()) : at::Tensor());
  state->memory = state->whole;
  state->prompt_rows.resize(static_cast<std::size_t>(encoded.size(0)));
  std::iota(state->prompt_rows.begin(), state->prompt_rows.end(), 0);
  const at::Tensor start = at::full({encoded.size(0)}, options_.decoder_start_token_id, prompt.mask.options());
  at::Tensor next = step(*state, start);
  return {std::move(state), std::move(next)};
}

at::Tensor T5LanguageModelImpl::step(DecodingState& state, const at::Tensor& ids) {
  torch::NoGradGuard no_grad;
  auto* own = dynamic_cast<T5State*>(&state);
  TORCH_CHECK(own != nullptr, "T5: the decoding state comes from another language model");
  TORCH_CHECK(ids.dim() == 1 && ids.size(0) == static_cast<std::int64_t>(own->prompt_rows.size()),
              "T5: expected one id for each of ", own->prompt_rows.size(), " rows, got ", ids.sizes());
  T5Pass pass;
  pass.memory = &own->memory;
  pass.cache = &own->cache;
  pass.dropout = is_training() ? options_.dropout_rate : 0.0;
  const at::Tensor hidden = decoder_->forward(embed(ids.unsqueeze(1)), pass);
  return at_least_float(head(hidden.squeeze(1)));
}

}  // namespace blip2
