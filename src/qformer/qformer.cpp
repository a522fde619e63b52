#include "blip2/qformer/qformer.h"

#include <torch/torch.h>

#include "blip2/nn/dropout.h"

namespace blip2 {
namespace {

void initialize(torch::nn::Module& module, double range) {
  if (SkipInitialization::active()) return;
  torch::NoGradGuard no_grad;
  for (auto& part : module.modules(/*include_self=*/false)) {
    if (auto* linear = part->as<LinearImpl>()) {
      torch::nn::init::normal_(linear->weight, 0.0, range);
      torch::nn::init::zeros_(linear->bias);
    }
  }
}

KeyValue behind(const KeyValue& prefix, const KeyValue& own) {
  return {torch::cat({prefix.key, own.key}, 2), torch::cat({prefix.value, own.value}, 2)};
}

}  // namespace

QFormerImpl::QFormerImpl(const QFormerOptions& options) : options_(options) {
  validate(options_);
  layernorm_ = register_module(
      "layernorm",
      torch::nn::LayerNorm(torch::nn::LayerNormOptions({options_.hidden_size}).eps(options_.layer_norm_eps)));
  auto encoder = register_module("encoder", std::make_shared<torch::nn::Module>("encoder"));
  auto list = encoder->register_module("layer", torch::nn::ModuleList());
  for (std::int64_t i = 0; i < options_.num_hidden_layers; ++i) {
    layers_.emplace_back(options_, i % options_.cross_attention_frequency == 0);
    list->push_back(layers_.back());
  }
  initialize(*this, options_.initializer_range);
}

std::vector<KeyValue> QFormerImpl::image_memory(const at::Tensor& image_tokens) {
  TORCH_CHECK(image_tokens.dim() == 3 && image_tokens.size(2) == options_.encoder_hidden_size,
              "Q-Former: expected image tokens [B, N, ", options_.encoder_hidden_size, "], got ", image_tokens.sizes());
  std::vector<KeyValue> memory;
  for (auto& layer : layers_) {
    if (layer->has_cross_attention()) memory.push_back(layer->image_memory(image_tokens));
  }
  return memory;
}

QFormerOutput QFormerImpl::forward(const QFormerInput& input, QFormerTrace* trace) {
  const std::int64_t query_length = input.query_embeds.defined() ? input.query_embeds.size(1) : 0;
  TORCH_CHECK(query_length > 0 || input.text_embeds.defined(), "Q-Former: expected queries, text or both, got neither");
  TORCH_CHECK(query_length == 0 || input.image_memory != nullptr,
              "Q-Former: queries need the pictures' keys and values");

  const at::Tensor& given = query_length > 0 ? input.query_embeds : input.text_embeds;
  RowLayout layout(given.size(0), query_length, input.text_embeds.defined() ? input.text_embeds.size(1) : 0,
                   trace == nullptr ? input.text_mask : at::Tensor());
  const RowLayout whole = layout;
  at::Tensor x = dropout(layernorm_(layout.join(input.query_embeds, input.text_embeds)),
                         is_training() ? options_.hidden_dropout_prob : 0.0);
  if (trace != nullptr) trace->hidden_states.push_back(layout.pad(x));

  QFormerOutput output;
  std::size_t cross_layer = 0;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    auto& layer = layers_[i];
    KeyValue self = layer->self_memory(x, layout);
    if (input.prefix != nullptr) self = behind(input.prefix->at(i), self);
    if (i + 1 == layers_.size() && !input.text_wanted && trace == nullptr) {
      x = layout.split(x).first;
      layout = layout.without_text();
    }
    const bool crosses = query_length > 0 && layer->has_cross_attention();
    const KeyValue* image = crosses ? &input.image_memory->at(cross_layer++) : nullptr;
    at::Tensor self_probabilities, cross_probabilities;
    x = layer->forward(x, layout, self, input.self_mask, image, trace != nullptr ? &self_probabilities : nullptr,
                       trace != nullptr && crosses ? &cross_probabilities : nullptr);
    output.self_attention_memory.push_back(std::move(self));
    if (trace != nullptr) {
      trace->hidden_states.push_back(layout.pad(x));
      trace->self_attention.push_back(self_probabilities);
      if (crosses) trace->cross_attention.push_back(cross_probabilities);
    }
  }
  const auto [queries, text] = layout.split(x);
  if (query_length > 0) output.query = queries.view({given.size(0), query_length, given.size(2)});
  if (text.defined()) output.text = whole.pad_text(text);
  return output;
}

void QFormerImpl::copy_text_feed_forward_to_queries() {
  for (auto& layer : layers_) layer->copy_text_feed_forward_to_queries();
}

std::vector<KeyValue> select_rows(const std::vector<KeyValue>& memory, const at::Tensor& rows) {
  std::vector<KeyValue> selected;
  for (const auto& layer : memory)
    selected.push_back({layer.key.index_select(0, rows), layer.value.index_select(0, rows)});
  return selected;
}

}  // namespace blip2
