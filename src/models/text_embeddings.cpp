#include "blip2/models/text_embeddings.h"

#include <torch/torch.h>

namespace blip2 {

TextEmbeddingsImpl::TextEmbeddingsImpl(const QFormerOptions& options) {
  word_embeddings = register_module("word_embeddings", torch::nn::Embedding(options.vocab_size, options.hidden_size));
  position_embeddings = register_module("position_embeddings",
                                        torch::nn::Embedding(options.max_position_embeddings, options.hidden_size));
  torch::NoGradGuard no_grad;
  torch::nn::init::normal_(word_embeddings->weight, 0.0, options.initializer_range);
  torch::nn::init::normal_(position_embeddings->weight, 0.0, options.initializer_range);
}

at::Tensor TextEmbeddingsImpl::positions(std::int64_t length) const {
  const std::int64_t positions = position_embeddings->weight.size(0);
  TORCH_CHECK(length <= positions, "text embeddings: ", length, " tokens exceed the ", positions,
              " positions of the model; truncate the text");
  return position_embeddings->weight.slice(0, 0, length);
}

at::Tensor TextEmbeddingsImpl::forward(const at::Tensor& ids) {
  const at::Tensor places = positions(ids.size(1));
  return word_embeddings(ids) + places;
}

std::pair<at::Tensor, at::Tensor> TextEmbeddingsImpl::with_start(const at::Tensor& ids, std::int64_t start_id) {
  const std::int64_t length = ids.size(1);
  const at::Tensor places = positions(length), start = torch::full({ids.size(0), 1}, start_id, ids.options());
  const auto words = word_embeddings(torch::cat({start, ids}, 1)).split_with_sizes({1, 1, length - 1}, 1);
  return {torch::cat({words[1], words[2]}, 1) + places, torch::cat({words[0], words[2]}, 1) + places};
}

ItgHeadImpl::ItgHeadImpl(const QFormerOptions& options) : activation_(activation_from_name(options.hidden_act)) {
  auto transform = register_module("transform", std::make_shared<torch::nn::Module>("transform"));
  dense_ = transform->register_module("dense", Linear(options.hidden_size, options.hidden_size));
  norm_ = transform->register_module(
      "LayerNorm",
      torch::nn::LayerNorm(torch::nn::LayerNormOptions({options.hidden_size}).eps(options.layer_norm_eps)));
  bias_ = register_parameter("bias", torch::zeros({options.vocab_size}));
  torch::NoGradGuard no_grad;
  torch::nn::init::normal_(dense_->weight, 0.0, options.initializer_range);
  torch::nn::init::zeros_(dense_->bias);
}

at::Tensor ItgHeadImpl::forward(const at::Tensor& hidden, const at::Tensor& word_embeddings) {
  return apply_linear(norm_(activate(dense_(hidden), activation_)), word_embeddings, bias_);
}

}  // namespace blip2
