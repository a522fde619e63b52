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

at::Tensor TextEmbeddingsImpl::forward(const at::Tensor& ids) {
  const std::int64_t length = ids.size(1), positions = position_embeddings->weight.size(0);
  TORCH_CHECK(length <= positions, "text embeddings: ", length, " tokens exceed the ", positions,
              " positions of the model; truncate the text");
  return word_embeddings(ids) + position_embeddings->weight.slice(0, 0, length);
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
  return torch::linear(norm_(activate(dense_(hidden), activation_)), word_embeddings, bias_);
}

}  // namespace blip2
