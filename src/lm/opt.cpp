#include "blip2/lm/opt.h"

#include <torch/torch.h>

#include "blip2/core/error.h"
#include "blip2/nn/activation_checkpointing.h"
#include "lm/opt_layer.h"
#include "lm/prompt.h"

namespace blip2 {
namespace {

constexpr std::int64_t kPositionOffset = 2;  // row of the position table of the first token that is read

/**
 * What a row of the prompt may see, additive [B, 1, T, T]: tokens up to itself that are no padding. A padding row
 * behind the image tokens sees those, as in Hugging Face, whose loss lets it predict the first word of a left-padded
 * text.
 */
at::Tensor causal_mask(const at::Tensor& mask, at::ScalarType dtype) {
  const std::int64_t length = mask.size(1);
  const at::Tensor earlier = at::ones({length, length}, mask.options().dtype(at::kBool)).tril();
  const at::Tensor visible = earlier.logical_and(mask.ne(0).unsqueeze(1).unsqueeze(1));
  // Padding in front sees nothing: it gets itself, because a lowest finite score becomes -inf when autocast narrows it,
  // and a row of -inf may give NaN.
  const at::Tensor blind = visible.any(-1, /*keepdim=*/true).logical_not();
  return additive_mask(visible.logical_or(blind.logical_and(at::eye(length, earlier.options()))), dtype);
}

/** Keys and values, padding and positions of sequences in decoding. */
struct OptState final : DecodingState {
  OptState(std::size_t layers, std::int64_t heads) : cache(layers, heads) {}

  KeyValueCache cache;
  at::Tensor prompt_mask;      // additive [R, 1, 1, T] of the prompt; undefined when it has no padding
  at::Tensor position_rows;    // int64 [R], rows of the position table that the next tokens take
  std::int64_t positions = 0;  // taken by the longest row

  void reorder(const at::Tensor& rows) override {
    const at::Tensor here = rows.to(position_rows.device());
    cache.reorder(here);
    if (prompt_mask.defined()) prompt_mask = prompt_mask.index_select(0, here);
    position_rows = position_rows.index_select(0, here);
  }

  /** The mask of one new token per row: the prompt's padding, then only tokens that are read. */
  at::Tensor step_mask() const {
    if (!prompt_mask.defined()) return {};
    return at::constant_pad_nd(prompt_mask, {0, cache.length() + 1 - prompt_mask.size(3)}, 0);
  }
};

}  // namespace

OptLanguageModelImpl::OptLanguageModelImpl(const OptOptions& options, const WeightOptions& weights)
    : torch::nn::Module("OptLanguageModel"), options_(options) {
  validate(options_);
  const std::int64_t width = options_.hidden_size, embedding_width = options_.embedding_width();
  const double deviation = options_.init_std;
  auto& decoder = add_child(add_child(*this, "model"), "decoder");
  embed_tokens_ = add_table(decoder, "embed_tokens", options_.vocab_size, embedding_width, deviation, weights);
  embed_positions_ = add_table(decoder, "embed_positions", options_.max_position_embeddings + kPositionOffset, width,
                               deviation, weights);
  if (embedding_width != width) {
    project_in_ = add_linear(decoder, "project_in", embedding_width, width, false, deviation, weights);
    project_out_ = add_linear(decoder, "project_out", width, embedding_width, false, deviation, weights);
  }
  if (options_.do_layer_norm_before && !options_.remove_final_layer_norm) {
    final_norm_ = std::make_unique<LayerNorm>(
        add_layer_norm(decoder, "final_layer_norm", width, 1e-5, options_.layer_norm_elementwise_affine, weights));
  }
  auto& list = add_child(decoder, "layers");
  for (std::size_t i = 0; i < static_cast<std::size_t>(options_.num_hidden_layers); ++i) {
    layers_.emplace_back(list, i, options_, weights);
  }
  // The head is the embedding: registered twice, LibTorch would list and train it twice.
  head_weight_ =
      options_.tie_word_embeddings
          ? embed_tokens_
          : add_linear(*this, "lm_head", embedding_width, options_.vocab_size, false, deviation, weights)->weight;
  if (!SkipInitialization::active() && options_.pad_token_id >= 0 && options_.pad_token_id < options_.vocab_size) {
    torch::NoGradGuard no_grad;
    embed_tokens_.select(0, options_.pad_token_id).zero_();
  }
}

OptLanguageModelImpl::~OptLanguageModelImpl() = default;

at::Tensor OptLanguageModelImpl::embed(const at::Tensor& ids) {
  // Padding teaches its row nothing, as in Hugging Face.
  const at::Tensor embeds = at::embedding(embed_tokens_, ids, options_.pad_token_id);
  const at::Tensor wide = embeds.to(dtype());
  return project_in_ ? project_in_->forward(wide) : wide;
}

at::Tensor OptLanguageModelImpl::head(const at::Tensor& hidden) const {
  return apply_linear(hidden, head_weight_);
}

void OptLanguageModelImpl::check_positions(std::int64_t needed) const {
  if (needed <= options_.max_position_embeddings) return;
  throw UserError("the language model has " + std::to_string(options_.max_position_embeddings) +
                  " positions for prompt and answer together, but this sequence needs " + std::to_string(needed) +
                  ": shorten the prompt or the answer");
}

at::Tensor OptLanguageModelImpl::decode(const at::Tensor& embeds, const at::Tensor& position_rows,
                                        const at::Tensor& mask, KeyValueCache* cache,
                                        std::vector<at::Tensor>* hidden_states) {
  at::Tensor x = embeds.to(dtype()) + at::embedding(embed_positions_, position_rows);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    if (hidden_states != nullptr) hidden_states->push_back(x);
    const auto forward = [layer = &layers_[i], mask, cache, training = is_training()](const auto& inputs) {
      return layer->forward(inputs[0], mask, cache, training);
    };
    x = checkpointed({x}, forward);
  }
  if (final_norm_) x = (*final_norm_)(x);
  if (hidden_states != nullptr) hidden_states->push_back(x);
  return project_out_ ? project_out_->forward(x) : x;
}

at::Tensor OptLanguageModelImpl::read(const Prompt& prompt, KeyValueCache* cache,
                                      std::vector<at::Tensor>* hidden_states) {
  check_prompt(prompt, width());
  const at::Tensor read = prompt.mask.ne(0).to(at::kLong);
  if (read.size(1) > options_.max_position_embeddings) check_positions(read.sum(1).max().item<std::int64_t>());
  // The n-th token that is read has position n - 1; padding takes the row before the first.
  const at::Tensor position_rows = read.cumsum(1) * read + (kPositionOffset - 1);
  return decode(prompt.embeds, position_rows, causal_mask(prompt.mask, dtype()), cache, hidden_states);
}

at::Tensor OptLanguageModelImpl::logits(const Prompt& prompt, std::vector<at::Tensor>* hidden_states) {
  return head(read(prompt, nullptr, hidden_states));
}

at::Tensor OptLanguageModelImpl::loss(const Prompt& prompt, const at::Tensor& labels) {
  const at::Tensor hidden = read(prompt, nullptr, nullptr);
  TORCH_CHECK(labels.dim() == 2 && labels.size(1) > 0 && labels.size(1) <= hidden.size(1),
              "OPT: expected labels for at most the ", hidden.size(1), " rows of the prompt, got ", labels.sizes());
  const std::int64_t count = labels.size(1) - 1;
  return mean_token_loss(hidden.narrow(1, hidden.size(1) - labels.size(1), count), labels.narrow(1, 1, count),
                         [this](const at::Tensor& rows) { return head(rows); });
}

std::pair<std::unique_ptr<DecodingState>, at::Tensor> OptLanguageModelImpl::begin(const Prompt& prompt) {
  torch::NoGradGuard no_grad;
  auto state = std::make_unique<OptState>(layers_.size(), options_.num_attention_heads);
  const at::Tensor hidden = read(prompt, &state->cache, nullptr);

  const at::Tensor read = prompt.mask.ne(0).to(at::kLong);
  const at::Tensor counts = read.sum(1);
  state->positions = counts.max().item<std::int64_t>();
  state->position_rows = counts + kPositionOffset;
  if (counts.min().item<std::int64_t>() < read.size(1)) state->prompt_mask = padding_mask(read, hidden.scalar_type());
  // The next token follows the last one that was read, wherever the padding is.
  const at::Tensor last = (read * at::arange(read.size(1), read.options())).argmax(1);
  const at::Tensor rows = hidden.gather(1, last.view({-1, 1, 1}).expand({-1, 1, hidden.size(2)})).squeeze(1);
  at::Tensor next = at_least_float(head(rows));
  return {std::move(state), std::move(next)};
}

at::Tensor OptLanguageModelImpl::step(DecodingState& state, const at::Tensor& ids) {
  torch::NoGradGuard no_grad;
  auto* own = dynamic_cast<OptState*>(&state);
  TORCH_CHECK(own != nullptr, "OPT: the decoding state comes from another language model");
  TORCH_CHECK(ids.dim() == 1 && ids.size(0) == own->position_rows.size(0), "OPT: expected one id for each of ",
              own->position_rows.size(0), " rows, got ", ids.sizes());
  check_positions(own->positions + 1);
  const at::Tensor hidden =
      decode(embed(ids.unsqueeze(1)), own->position_rows.unsqueeze(1), own->step_mask(), &own->cache, nullptr);
  own->position_rows = own->position_rows + 1;
  ++own->positions;
  return at_least_float(head(hidden.squeeze(1)));
}

}  // namespace blip2
