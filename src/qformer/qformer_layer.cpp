#include "blip2/qformer/qformer_layer.h"

#include <torch/torch.h>

#include "blip2/nn/dropout.h"

namespace blip2 {

BertAttentionImpl::BertAttentionImpl(const QFormerOptions& options, std::int64_t memory_size)
    : heads_(options.num_attention_heads),
      attention_dropout_(options.attention_probs_dropout_prob),
      dropout_(options.hidden_dropout_prob) {
  const std::int64_t width = options.hidden_size;
  auto inner = register_module("attention", std::make_shared<torch::nn::Module>("attention"));
  query_ = inner->register_module("query", Linear(width, width));
  key_ = inner->register_module("key", Linear(memory_size, width));
  value_ = inner->register_module("value", Linear(memory_size, width));
  auto output = register_module("output", std::make_shared<torch::nn::Module>("output"));
  dense_ = output->register_module("dense", Linear(width, width));
  norm_ = output->register_module(
      "LayerNorm", torch::nn::LayerNorm(torch::nn::LayerNormOptions({width}).eps(options.layer_norm_eps)));
}

KeyValue BertAttentionImpl::memory(const at::Tensor& given) {
  const at::Tensor x = given.to(key_->weight.scalar_type());  // the image encoder may run in half precision
  return {split_heads(key_(x), heads_), split_heads(value_(x), heads_)};
}

KeyValue BertAttentionImpl::memory(const at::Tensor& rows, const RowLayout& layout) {
  return {split_heads(layout.pad(key_(rows)), heads_), split_heads(layout.pad(value_(rows)), heads_)};
}

at::Tensor BertAttentionImpl::forward(const at::Tensor& rows, const RowLayout& layout, const KeyValue& memory,
                                      const at::Tensor& mask, at::Tensor* probabilities) {
  const at::Tensor query = split_heads(layout.pad(query_(rows)), heads_);
  const double scale = 1.0 / std::sqrt(static_cast<double>(query.size(3)));
  if (probabilities != nullptr) *probabilities = attention_probabilities(query, memory.key, mask, scale);
  const double attention_dropout = is_training() ? attention_dropout_ : 0.0;
  const at::Tensor context = layout.pack(merge_heads(attention(query, memory, mask, scale, attention_dropout)));
  return norm_(dropout_add(dense_(context), rows, is_training() ? dropout_ : 0.0));
}

QFormerLayerImpl::QFormerLayerImpl(const QFormerOptions& options, bool has_cross_attention)
    : activation_(activation_from_name(options.hidden_act)), dropout_(options.hidden_dropout_prob) {
  attention_ = register_module("attention", BertAttention(options, options.hidden_size));
  if (has_cross_attention) {
    crossattention_ = register_module("crossattention", BertAttention(options, options.encoder_hidden_size));
  }
  if (options.use_qformer_text_input) text_feed_forward_ = register_feed_forward(options, "");
  query_feed_forward_ = register_feed_forward(options, "_query");
}

FeedForward QFormerLayerImpl::register_feed_forward(const QFormerOptions& options, const std::string& suffix) {
  const std::int64_t width = options.hidden_size, inner = options.intermediate_size;
  FeedForward part;
  auto intermediate = register_module("intermediate" + suffix, std::make_shared<torch::nn::Module>("intermediate"));
  part.expand = intermediate->register_module("dense", Linear(width, inner));
  auto output = register_module("output" + suffix, std::make_shared<torch::nn::Module>("output"));
  part.contract = output->register_module("dense", Linear(inner, width));
  part.norm = output->register_module(
      "LayerNorm", torch::nn::LayerNorm(torch::nn::LayerNormOptions({width}).eps(options.layer_norm_eps)));
  return part;
}

at::Tensor QFormerLayerImpl::feed_forward(FeedForward& part, const at::Tensor& x) {
  const at::Tensor inner = part.contract(activate(part.expand(x), activation_));
  return part.norm(dropout_add(inner, x, is_training() ? dropout_ : 0.0));
}

at::Tensor QFormerLayerImpl::forward(const at::Tensor& rows, const RowLayout& layout, const KeyValue& self,
                                     const at::Tensor& self_mask, const KeyValue* image, at::Tensor* self_probabilities,
                                     at::Tensor* cross_probabilities) {
  auto [queries, text] = layout.split(attention_->forward(rows, layout, self, self_mask, self_probabilities));
  TORCH_CHECK(!text.defined() || !text_feed_forward_.expand.is_empty(),
              "Q-Former: got text, but the model has no text feed-forward (use_qformer_text_input is false)");
  if (queries.defined()) {
    if (has_cross_attention()) {
      queries = crossattention_->forward(queries, layout.without_text(), *image, /*mask=*/{}, cross_probabilities);
    }
    queries = feed_forward(query_feed_forward_, queries);
  }
  if (text.defined()) text = feed_forward(text_feed_forward_, text);
  if (!text.defined()) return queries;
  return queries.defined() ? torch::cat({queries, text}) : text;
}

void QFormerLayerImpl::copy_text_feed_forward_to_queries() {
  TORCH_CHECK(!text_feed_forward_.expand.is_empty(), "Q-Former: there is no text feed-forward to copy from");
  torch::NoGradGuard no_grad;
  auto copy = [](auto& from, auto& to) {
    to->weight.copy_(from->weight);
    to->bias.copy_(from->bias);
  };
  copy(text_feed_forward_.expand, query_feed_forward_.expand);
  copy(text_feed_forward_.contract, query_feed_forward_.contract);
  copy(text_feed_forward_.norm, query_feed_forward_.norm);
}

}  // namespace blip2
