#include "blip2/qformer/qformer.h"

#include <torch/torch.h>

#include "blip2/nn/activation_checkpointing.h"
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

KeyValue behind(const at::Tensor& key, const at::Tensor& value, const KeyValue& own) {
  return {torch::cat({key, own.key}, 2), torch::cat({value, own.value}, 2)};
}

/** What a layer leaves beside its output. */
struct LayerRecord {
  KeyValue self;
  at::Tensor self_probabilities, cross_probabilities;
};

/** A pass's way through one layer, with all that is needed to go it again (activation_checkpointing.h). */
struct LayerStep {
  QFormerLayer layer;
  RowLayout layout;
  at::Tensor self_mask, image_rows;
  bool leaves_text_out;

  /** Inputs: rows, the picture's key and value, the prefix's key and value; only rows are always defined. */
  at::Tensor operator()(const std::vector<at::Tensor>& inputs, bool wants_probabilities, LayerRecord& record) {
    KeyValue image{inputs[1], inputs[2]};
    if (image.key.defined() && image_rows.defined()) {
      image = {image.key.index_select(0, image_rows), image.value.index_select(0, image_rows)};
    }
    record.self = layer->self_memory(inputs[0], layout);
    if (inputs[3].defined()) record.self = behind(inputs[3], inputs[4], record.self);
    const at::Tensor rows = leaves_text_out ? layout.split(inputs[0]).first : inputs[0];
    return layer->forward(rows, leaves_text_out ? layout.without_text() : layout, record.self, self_mask,
                          image.key.defined() ? &image : nullptr,
                          wants_probabilities ? &record.self_probabilities : nullptr,
                          wants_probabilities ? &record.cross_probabilities : nullptr);
  }
};

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

  TORCH_CHECK(input.prefix == nullptr || input.prefix->size() == layers_.size(), "Q-Former: expected a prefix of ",
              layers_.size(), " layers, got ", input.prefix == nullptr ? 0 : input.prefix->size(),
              "; activation checkpointing keeps none");

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
    const bool leaves_text_out = i + 1 == layers_.size() && !input.text_wanted && trace == nullptr;
    LayerStep step{layers_[i], layout, input.self_mask, input.image_rows, leaves_text_out};
    const bool crosses = query_length > 0 && layers_[i]->has_cross_attention();
    const KeyValue image = crosses ? input.image_memory->at(cross_layer++) : KeyValue();
    const KeyValue prefix = input.prefix != nullptr ? input.prefix->at(i) : KeyValue();
    const std::vector<at::Tensor> inputs = {x, image.key, image.value, prefix.key, prefix.value};
    if (leaves_text_out) layout = layout.without_text();
    if (trace == nullptr && is_checkpointed(inputs)) {
      x = checkpointed(inputs, [step](const std::vector<at::Tensor>& again) mutable {
        LayerRecord dropped;
        return step(again, /*wants_probabilities=*/false, dropped);
      });
      continue;
    }
    LayerRecord record;
    x = step(inputs, trace != nullptr, record);
    output.self_attention_memory.push_back(std::move(record.self));
    if (trace != nullptr) {
      trace->hidden_states.push_back(layout.pad(x));
      trace->self_attention.push_back(record.self_probabilities);
      if (crosses) trace->cross_attention.push_back(record.cross_probabilities);
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
