#include "blip2/lm/t5.h"

#include <torch/torch.h>

#include "lm/next_token_loss.h"

namespace blip2 {
namespace {

struct T5State final : DecodingState {
  explicit T5State(std::int64_t layers) : cache(layers) {}

  void reorder(const at::Tensor& rows) override {
    cache.reorder(rows);
    for (auto& layer : cross_memory) layer = {layer.key.index_select(0, rows), layer.value.index_select(0, rows)};
    encoder_mask = encoder_mask.index_select(0, rows);
  }

  KvCache cache;
  std::vector<KeyValue> cross_memory;  // of the encoder's output, one per block
  at::Tensor encoder_mask;             // additive [R, 1, 1, T]
};

at::Tensor additive_padding(const at::Tensor& mask, at::ScalarType dtype) {
  return additive_mask(mask.view({mask.size(0), 1, 1, mask.size(1)}), dtype);
}

/** What the decoder reads: the start id, then the labels but the last; ignored labels become padding. */
at::Tensor shift_right(const at::Tensor& labels, const T5Options& options) {
  const at::Tensor start = torch::full({labels.size(0), 1}, options.decoder_start_token_id, labels.options());
  const at::Tensor shifted = torch::cat({start, labels.slice(1, 0, labels.size(1) - 1)}, 1);
  return shifted.masked_fill(shifted.eq(-100), options.pad_token_id);
}

}  // namespace

T5LanguageModelImpl::T5LanguageModelImpl(const T5Options& options) : options_(options) {
  validate(options_);
  shared_ = register_module("shared", torch::nn::Embedding(options_.vocab_size, options_.d_model));
  encoder_ = register_module("encoder", T5Stack(options_, /*is_decoder=*/false));
  decoder_ = register_module("decoder", T5Stack(options_, /*is_decoder=*/true));
  if (!options_.tie_word_embeddings) {
    lm_head_ = register_module(
        "lm_head", torch::nn::Linear(torch::nn::LinearOptions(options_.d_model, options_.vocab_size).bias(false)));
  }
}

SpecialIds T5LanguageModelImpl::special_ids() const {
  return {options_.pad_token_id, options_.bos_token_id, options_.eos_token_id, options_.decoder_start_token_id};
}

at::Tensor T5LanguageModelImpl::head(const at::Tensor& hidden) {
  const double scale = options_.scales_output() ? 1.0 / std::sqrt(static_cast<double>(options_.d_model)) : 1.0;
  return torch::linear(hidden * scale, lm_head_.is_empty() ? shared_->weight : lm_head_->weight);
}

at::Tensor T5LanguageModelImpl::encode(const Prompt& prompt, std::vector<at::Tensor>* hidden_states) {
  return encoder_->encode(prompt.embeds, prompt.mask, hidden_states);
}

at::Tensor T5LanguageModelImpl::decode_labels(const Prompt& prompt, const at::Tensor& labels,
                                              std::vector<at::Tensor>* encoder_states,
                                              std::vector<at::Tensor>* decoder_states) {
  const at::Tensor encoded = encode(prompt, encoder_states);
  KvCache cache(options_.decoder_layers());
  return decoder_->decode(shared_(shift_right(labels, options_)), cache, decoder_->cross_memory(encoded),
                          additive_padding(prompt.mask, encoded.scalar_type()), decoder_states);
}

at::Tensor T5LanguageModelImpl::logits(const Prompt& prompt, const at::Tensor& labels,
                                       std::vector<at::Tensor>* encoder_states,
                                       std::vector<at::Tensor>* decoder_states) {
  return head(decode_labels(prompt, labels, encoder_states, decoder_states));
}

at::Tensor T5LanguageModelImpl::loss(const Prompt& prompt, const at::Tensor& labels) {
  return next_token_loss(decode_labels(prompt, labels, nullptr, nullptr), labels,
                         [this](const at::Tensor& rows) { return head(rows); });
}

std::pair<std::unique_ptr<DecodingState>, at::Tensor> T5LanguageModelImpl::begin(const Prompt& prompt) {
  auto state = std::make_unique<T5State>(options_.decoder_layers());
  const at::Tensor encoded = encode(prompt);
  state->cross_memory = decoder_->cross_memory(encoded);
  state->encoder_mask = additive_padding(prompt.mask, encoded.scalar_type());
  at::Tensor start = torch::full({prompt.embeds.size(0)}, options_.decoder_start_token_id, prompt.mask.options());
  at::Tensor next = step(*state, start);
  return {std::move(state), std::move(next)};
}

at::Tensor T5LanguageModelImpl::step(DecodingState& state, const at::Tensor& ids) {
  auto& t5 = dynamic_cast<T5State&>(state);
  const at::Tensor hidden =
      decoder_->decode(shared_(ids.view({-1, 1})), t5.cache, t5.cross_memory, t5.encoder_mask, nullptr);
  return head(hidden.select(1, 0));
}

}  // namespace blip2
