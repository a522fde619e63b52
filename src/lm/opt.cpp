#include "blip2/lm/opt.h"

#include <torch/torch.h>

#include "lm/next_token_loss.h"

namespace blip2 {
namespace {

constexpr std::int64_t kPositionOffset = 2;  // the first two rows of the position table are not used by tokens

struct OptState final : DecodingState {
  explicit OptState(std::int64_t layers) : cache(layers) {}

  void reorder(const at::Tensor& rows) override {
    cache.reorder(rows);
    mask = mask.index_select(0, rows);
  }

  KvCache cache;
  at::Tensor mask;  // [R, length] of everything in the cache
};

/** Position of each token, counted without padding, from 0; padding has -1. */
at::Tensor count_positions(const at::Tensor& mask) {
  return mask.cumsum(1) * mask - 1;
}

/** Causal and padding mask of the last `rows` positions: additive [B, 1, rows, length]. */
at::Tensor causal_mask(const at::Tensor& mask, std::int64_t rows, at::ScalarType dtype) {
  const std::int64_t length = mask.size(1);
  const at::Tensor earlier = torch::ones({rows, length}, mask.options().dtype(torch::kBool)).tril(length - rows);
  return additive_mask(earlier.logical_and(mask.ne(0).view({mask.size(0), 1, 1, length})), dtype);
}

}  // namespace

OptLayerImpl::OptLayerImpl(const OptOptions& options)
    : heads_(options.num_attention_heads),
      norm_first_(options.do_layer_norm_before),
      dropout_(options.dropout),
      attention_dropout_(options.attention_dropout),
      activation_(activation_from_name(options.activation_function)) {
  const std::int64_t width = options.hidden_size;
  auto linear = [&](std::int64_t in, std::int64_t out) {
    return torch::nn::Linear(torch::nn::LinearOptions(in, out).bias(options.enable_bias));
  };
  const auto norm = torch::nn::LayerNormOptions({width}).elementwise_affine(options.layer_norm_elementwise_affine);
  auto self_attn = register_module("self_attn", std::make_shared<torch::nn::Module>("self_attn"));
  k_proj_ = self_attn->register_module("k_proj", linear(width, width));
  v_proj_ = self_attn->register_module("v_proj", linear(width, width));
  q_proj_ = self_attn->register_module("q_proj", linear(width, width));
  out_proj_ = self_attn->register_module("out_proj", linear(width, width));
  self_attn_layer_norm_ = register_module("self_attn_layer_norm", torch::nn::LayerNorm(norm));
  fc1_ = register_module("fc1", linear(width, options.ffn_dim));
  fc2_ = register_module("fc2", linear(options.ffn_dim, width));
  final_layer_norm_ = register_module("final_layer_norm", torch::nn::LayerNorm(norm));
}

at::Tensor OptLayerImpl::drop(const at::Tensor& x) const {
  return torch::dropout(x, dropout_, is_training());
}

at::Tensor OptLayerImpl::attend(const at::Tensor& x, const at::Tensor& mask, KvCache& cache, std::size_t index) {
  const KeyValue memory = cache.append(index, {split_heads(k_proj_(x), heads_), split_heads(v_proj_(x), heads_)});
  const at::Tensor query = split_heads(q_proj_(x), heads_);
  const double scale = 1.0 / std::sqrt(static_cast<double>(query.size(3)));
  return drop(out_proj_(merge_heads(attention(query, memory, mask, scale, is_training() ? attention_dropout_ : 0.0))));
}

at::Tensor OptLayerImpl::feed_forward(const at::Tensor& x) {
  return drop(fc2_(activate(fc1_(x), activation_)));
}

at::Tensor OptLayerImpl::forward(const at::Tensor& x, const at::Tensor& mask, KvCache& cache, std::size_t index) {
  if (norm_first_) {
    const at::Tensor attended = x + attend(self_attn_layer_norm_(x), mask, cache, index);
    return attended + feed_forward(final_layer_norm_(attended));
  }
  const at::Tensor attended = self_attn_layer_norm_(x + attend(x, mask, cache, index));
  return final_layer_norm_(attended + feed_forward(attended));
}

OptLanguageModelImpl::OptLanguageModelImpl(const OptOptions& options) : options_(options) {
  validate(options_);
  const std::int64_t width = options_.hidden_size, embedding = options_.embedding_width();
  auto model = register_module("model", std::make_shared<torch::nn::Module>("model"));
  auto decoder = model->register_module("decoder", std::make_shared<torch::nn::Module>("decoder"));
  embed_tokens_ = decoder->register_module("embed_tokens", torch::nn::Embedding(options_.vocab_size, embedding));
  embed_positions_ = decoder->register_module(
      "embed_positions", torch::nn::Embedding(options_.max_position_embeddings + kPositionOffset, width));
  if (embedding != width) {
    auto projection = [](std::int64_t in, std::int64_t out) {
      return torch::nn::Linear(torch::nn::LinearOptions(in, out).bias(false));
    };
    project_out_ = decoder->register_module("project_out", projection(width, embedding));
    project_in_ = decoder->register_module("project_in", projection(embedding, width));
  }
  if (options_.do_layer_norm_before && !options_.remove_final_layer_norm) {
    final_layer_norm_ = decoder->register_module(
        "final_layer_norm", torch::nn::LayerNorm(torch::nn::LayerNormOptions({width}).elementwise_affine(
                                options_.layer_norm_elementwise_affine)));
  }
  auto list = decoder->register_module("layers", torch::nn::ModuleList());
  for (std::int64_t i = 0; i < options_.num_hidden_layers; ++i) {
    layers_.emplace_back(options_);
    list->push_back(layers_.back());
  }
  torch::NoGradGuard no_grad;
  for (auto& part : modules(/*include_self=*/false)) {
    if (auto* linear = part->as<torch::nn::Linear>()) {
      torch::nn::init::normal_(linear->weight, 0.0, options_.init_std);
      if (linear->bias.defined()) torch::nn::init::zeros_(linear->bias);
    } else if (auto* table = part->as<torch::nn::Embedding>()) {
      torch::nn::init::normal_(table->weight, 0.0, options_.init_std);
    }
  }
}

SpecialIds OptLanguageModelImpl::special_ids() const {
  return {options_.pad_token_id, options_.bos_token_id, options_.eos_token_id, -1};
}

at::Tensor OptLanguageModelImpl::embed(const at::Tensor& ids) {
  const at::Tensor embeds = embed_tokens_(ids);
  return project_in_.is_empty() ? embeds : project_in_(embeds);
}

at::Tensor OptLanguageModelImpl::head(const at::Tensor& hidden) {
  return torch::linear(project_out_.is_empty() ? hidden : project_out_(hidden), embed_tokens_->weight);
}

at::Tensor OptLanguageModelImpl::decode(const at::Tensor& embeds, const at::Tensor& positions, const at::Tensor& mask,
                                        KvCache& cache, std::vector<at::Tensor>* hidden_states) {
  TORCH_CHECK(mask.size(1) <= options_.max_position_embeddings, "OPT: ", mask.size(1), " positions exceed the ",
              options_.max_position_embeddings, " of the model; shorten the prompt or the answer");
  at::Tensor x =
      torch::dropout(embeds + embed_positions_(positions + kPositionOffset), options_.dropout, is_training());
  const at::Tensor visible = causal_mask(mask, embeds.size(1), x.scalar_type());
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    if (hidden_states != nullptr) hidden_states->push_back(x);
    x = layers_[i]->forward(x, visible, cache, i);
  }
  if (!final_layer_norm_.is_empty()) x = final_layer_norm_(x);
  if (hidden_states != nullptr) hidden_states->push_back(x);
  return x;
}

at::Tensor OptLanguageModelImpl::logits(const Prompt& prompt, std::vector<at::Tensor>* hidden_states) {
  KvCache cache(options_.num_hidden_layers);
  return head(decode(prompt.embeds, count_positions(prompt.mask), prompt.mask, cache, hidden_states));
}

at::Tensor OptLanguageModelImpl::loss(const Prompt& prompt, const at::Tensor& labels) {
  KvCache cache(options_.num_hidden_layers);
  const at::Tensor hidden = decode(prompt.embeds, count_positions(prompt.mask), prompt.mask, cache);
  const std::int64_t length = labels.size(1);
  TORCH_CHECK(length <= hidden.size(1), "OPT: ", length, " labels for a prompt of ", hidden.size(1), " rows");
  const at::Tensor last = hidden.slice(1, hidden.size(1) - length);
  return next_token_loss(last.slice(1, 0, length - 1), labels.slice(1, 1),
                         [this](const at::Tensor& rows) { return head(rows); });
}

std::pair<std::unique_ptr<DecodingState>, at::Tensor> OptLanguageModelImpl::begin(const Prompt& prompt) {
  auto state = std::make_unique<OptState>(options_.num_hidden_layers);
  state->mask = prompt.mask;
  const at::Tensor hidden = decode(prompt.embeds, count_positions(prompt.mask), prompt.mask, state->cache);
  at::Tensor next = head(hidden.select(1, hidden.size(1) - 1));
  return {std::move(state), std::move(next)};
}

at::Tensor OptLanguageModelImpl::step(DecodingState& state, const at::Tensor& ids) {
  auto& opt = dynamic_cast<OptState&>(state);
  const at::Tensor column = ids.view({-1, 1});
  opt.mask = torch::cat({opt.mask, torch::ones_like(column)}, 1);
  const at::Tensor positions = opt.mask.sum(1, /*keepdim=*/true) - 1;
  return head(decode(embed(column), positions, opt.mask, opt.cache).select(1, 0));
}

}  // namespace blip2
