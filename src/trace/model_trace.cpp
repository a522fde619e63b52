#include "blip2/trace/model_trace.h"

#include <torch/torch.h>

#include "blip2/core/error.h"
#include "blip2/lm/opt.h"
#include "blip2/lm/t5.h"
#include "blip2/losses/image_text_contrastive.h"
#include "blip2/losses/image_text_matching.h"
#include "blip2/qformer/attention_mask.h"

namespace blip2 {
namespace {

void add_list(NamedTensors& trace, const std::string& name, const std::vector<at::Tensor>& tensors) {
  for (std::size_t i = 0; i < tensors.size(); ++i) trace[name + "." + std::to_string(i)] = tensors[i];
}

/**
 * Numbers as the reference cases count: hidden states and cross-attention by layer, self-attention in the one list that
 * Hugging Face keeps of both kinds (layer 0's, its cross-attention, layer 1's...), where the pass has queries.
 */
void add_qformer(NamedTensors& trace, const std::string& prefix, const QFormerTrace& qformer, std::int64_t frequency) {
  add_list(trace, prefix + "hidden_states", qformer.hidden_states);
  const bool crosses = !qformer.cross_attention.empty();
  for (std::size_t i = 0; i < qformer.self_attention.size(); ++i) {
    const auto layer = static_cast<std::int64_t>(i), crossed_before = (layer + frequency - 1) / frequency;
    trace[prefix + "self_attention." + std::to_string(layer + (crosses ? crossed_before : 0))] =
        qformer.self_attention[i];
  }
  for (std::size_t i = 0; i < qformer.cross_attention.size(); ++i) {
    const auto layer = static_cast<std::int64_t>(i) * frequency;
    trace[prefix + "cross_attention." + std::to_string(layer)] = qformer.cross_attention[i];
  }
  trace[prefix + "last_hidden_state"] = qformer.hidden_states.back();
}

at::Tensor trace_vision(VisionEncoderImpl& vision, const at::Tensor& pixels, bool interpolate, NamedTensors& trace) {
  std::vector<at::Tensor> hidden_states;
  const at::Tensor tokens = vision.post_layernorm(vision.encode(pixels, interpolate, &hidden_states));
  add_list(trace, "vision.hidden_states", hidden_states);
  trace["vision.last_hidden_state"] = tokens;
  trace["vision.pooler_output"] = vision.post_layernorm(tokens.select(1, 0));
  return tokens;
}

at::Tensor trace_opt(OptLanguageModelImpl& model, const Prompt& prompt, const LanguageInput& input,
                     const std::string& prefix, NamedTensors& trace) {
  std::vector<at::Tensor> hidden_states;
  trace[prefix + "logits"] = model.logits(prompt, input.hidden_states ? &hidden_states : nullptr);
  add_list(trace, prefix + "lm_hidden_states", hidden_states);
  return input.labels.defined() ? model.loss(prompt, input.labels) : at::Tensor();
}

at::Tensor trace_t5(T5LanguageModelImpl& model, const Prompt& prompt, const LanguageInput& input,
                    const std::string& prefix, NamedTensors& trace) {
  if (!input.labels.defined()) return {};
  T5Trace own;
  trace[prefix + "logits"] = model.logits(prompt, model.decoder_inputs(input.labels), &own);
  if (input.hidden_states) {
    add_list(trace, prefix + "encoder_hidden_states", own.encoder_hidden_states);
    add_list(trace, prefix + "decoder_hidden_states", own.decoder_hidden_states);
  }
  return model.loss(prompt, input.labels);
}

/** All tokens of a text pass whose positions count from `first_position`, projected and normalised. */
at::Tensor projected_text(Blip2QFormerImpl& model, const TextTokens& text, std::int64_t first_position,
                          at::Tensor* hidden = nullptr) {
  const at::Tensor positions = torch::arange(text.ids.size(1), text.ids.options()) + first_position;
  QFormerInput input;
  input.text_embeds = model.embeddings->word_embeddings(text.ids) + model.embeddings->position_embeddings(positions);
  input.self_mask = additive_mask(unimodal_mask(text.mask, /*num_queries=*/0), model.query_tokens.scalar_type());
  const at::Tensor output = model.qformer->forward(input).text;
  if (hidden != nullptr) *hidden = output;
  return model.text_token_features(output);
}

/** Matching: every picture with the text of its row. */
at::Tensor trace_matching(Blip2QFormerImpl& model, const std::vector<KeyValue>& image_memory, const TextTokens& text,
                          NamedTensors& trace) {
  QFormerTrace qformer;
  const at::Tensor logits = matching_logits(model.match(image_memory, text, &qformer));
  add_qformer(trace, "itm.qformer.", qformer, model.options().qformer_config.cross_attention_frequency);
  trace["itm.logits_per_image"] = logits;
  trace["itm.probabilities"] = logits.softmax(1);
  return logits;
}

/** Contrast: every picture with every text -> similarities [B, B]. */
at::Tensor trace_contrast(Blip2QFormerImpl& model, const at::Tensor& image_features, const TextTokens& text,
                          NamedTensors& trace) {
  QFormerTrace qformer;
  const at::Tensor text_features = model.text_features(model.encode_text(text, &qformer));
  add_qformer(trace, "itc.text.qformer.", qformer, model.options().qformer_config.cross_attention_frequency);
  const at::Tensor similarity = best_query_similarity(image_features, text_features);
  trace["itc.image_embeds"] = image_features;
  trace["itc.text_embeds"] = text_features;
  trace["itc.logits_per_image"] = similarity;
  trace["itc.logits_per_text"] = similarity.t().contiguous();
  trace["itc.one_image.logits_per_image"] = similarity.narrow(0, 0, 1);
  return similarity;
}

}  // namespace

at::Tensor trace_image(Blip2GeneratorImpl& model, const at::Tensor& pixels, bool interpolate, NamedTensors& trace) {
  const at::Tensor tokens = trace_vision(*model.vision_model, pixels, interpolate, trace);
  const std::vector<KeyValue> image_memory = model.qformer->image_memory(tokens);
  QFormerInput input;
  input.query_embeds = model.query_tokens.expand({pixels.size(0), -1, -1});
  input.image_memory = &image_memory;
  QFormerTrace qformer;
  const at::Tensor projected = model.language_projection(model.qformer->forward(input, &qformer).query);
  add_qformer(trace, "qformer.", qformer, model.options().qformer_config.cross_attention_frequency);
  trace["projected_tokens"] = projected;
  return projected;
}

at::Tensor trace_language(Blip2GeneratorImpl& model, const at::Tensor& projected, const LanguageInput& input,
                          const std::string& prefix, NamedTensors& trace) {
  const Prompt prompt = model.options().image_token_index ? model.prompt_with_placeholders(projected, input.text)
                                                          : model.prompt(projected, input.text);
  at::Tensor loss;
  if (auto* opt = dynamic_cast<OptLanguageModelImpl*>(model.language_model.get())) {
    loss = trace_opt(*opt, prompt, input, prefix, trace);
  } else if (auto* t5 = dynamic_cast<T5LanguageModelImpl*>(model.language_model.get())) {
    loss = trace_t5(*t5, prompt, input, prefix, trace);
  } else {
    TORCH_CHECK(false, "trace: this language model has no trace");
  }
  if (loss.defined()) trace[prefix + "loss"] = loss;
  return loss;
}

at::Tensor trace_retrieval(Blip2QFormerImpl& model, const RetrievalInput& input, NamedTensors& trace) {
  const at::Tensor tokens = trace_vision(*model.vision_model, input.pixels, /*interpolate=*/false, trace);
  QFormerTrace queries;
  const ImageQueries image = model.encode_image(input.pixels, &queries);
  add_qformer(trace, "itc.image.qformer.", queries, model.options().qformer_config.cross_attention_frequency);
  const at::Tensor image_features = model.image_features(image.query_output);
  trace["vision_with_projection.last_hidden_state"] = tokens;
  trace["vision_with_projection.image_embeds"] = image_features;
  const at::Tensor logits = trace_matching(model, image.image_memory, input.text, trace);
  const at::Tensor similarity = trace_contrast(model, image_features, input.text, trace);

  at::Tensor hidden;
  trace["text_with_projection.text_embeds"] = projected_text(model, input.text, 0, &hidden);
  trace["text_with_projection.last_hidden_state"] = hidden;
  if (input.text.ids.size(1) + 2 <= model.options().qformer_config.max_position_embeddings) {
    trace["text_with_projection.shifted_positions.text_embeds"] = projected_text(model, input.text, 2);
  }
  if (!input.labels.defined()) return {};
  const at::Tensor own = torch::arange(similarity.size(0), torch::kLong);
  const at::Tensor scaled = similarity / input.temperature;
  trace["loss.itm"] = torch::nn::functional::cross_entropy(logits, input.labels);
  trace["loss.itc"] =
      (torch::nn::functional::cross_entropy(scaled, own) + torch::nn::functional::cross_entropy(scaled.t(), own)) / 2;
  return trace["loss.itm"] + trace["loss.itc"];
}

void trace_gradients(torch::nn::Module& model, const at::Tensor& loss, NamedTensors& trace) {
  model.zero_grad();
  loss.backward();
  for (const auto& item : model.named_parameters()) {
    if (item.value().grad().defined()) trace["grad." + item.key()] = item.value().grad();
  }
}

}  // namespace blip2
