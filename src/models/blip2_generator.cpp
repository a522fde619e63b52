#include "blip2/models/blip2_generator.h"

#include <torch/torch.h>

#include "blip2/core/error.h"
#include "models/generator_options.h"

namespace blip2 {
namespace {

Blip2GeneratorOptions resolved(Blip2GeneratorOptions options) {
  options.qformer_config.use_qformer_text_input = false;  // stage 2 feeds queries only
  resolve(options);
  return options;
}

}  // namespace

Blip2GeneratorImpl::Blip2GeneratorImpl(const Blip2GeneratorOptions& options, const WeightOptions& language_weights)
    : options_(resolved(options)) {
  const std::int64_t width = options_.qformer_config.hidden_size;
  vision_model = register_module("vision_model", make_vision_encoder(options_.vision_config));
  query_tokens = register_parameter("query_tokens", torch::empty({1, options_.num_query_tokens, width}));
  qformer = register_module("qformer", QFormer(options_.qformer_config));
  language_model = make_language_model(options_.text_config, language_weights);
  language_projection = register_module("language_projection", Linear(width, language_model->width()));
  register_module("language_model", language_model->module().shared_from_this());
  torch::NoGradGuard no_grad;
  torch::nn::init::normal_(query_tokens, 0.0, options_.qformer_config.initializer_range);
}

at::Tensor Blip2GeneratorImpl::project_image(const at::Tensor& pixels, QFormerTrace* trace) {
  return project_image_tokens(vision_model->forward(pixels), trace);
}

at::Tensor Blip2GeneratorImpl::project_image_tokens(const at::Tensor& image_tokens, QFormerTrace* trace) {
  const std::vector<KeyValue> image_memory = qformer->image_memory(image_tokens);
  QFormerInput input;
  input.query_embeds = query_tokens.expand({image_tokens.size(0), -1, -1});
  input.image_memory = &image_memory;
  return language_projection(qformer->forward(input, trace).query);
}

Prompt Blip2GeneratorImpl::prompt(const at::Tensor& image_prompt, const TextTokens& text) {
  const at::Tensor visible = torch::ones({image_prompt.size(0), image_prompt.size(1)}, text.mask.options());
  return {torch::cat({image_prompt, language_model->embed(text.ids)}, 1), torch::cat({visible, text.mask}, 1)};
}

Prompt Blip2GeneratorImpl::prompt_with_placeholders(const at::Tensor& image_prompt, const TextTokens& text) {
  if (!options_.image_token_index) {
    throw UserError(
        "the text is to hold placeholders for the picture, but the model's config has no image_token_index");
  }
  const at::Tensor placeholder = text.ids.eq(*options_.image_token_index);
  const at::Tensor counts = placeholder.sum(1).to(at::kCPU);
  for (std::int64_t row = 0; row < counts.size(0); ++row) {
    const auto count = counts[row].item<std::int64_t>();
    if (count == image_prompt.size(1)) continue;
    throw UserError("row " + std::to_string(row) + " of the text holds " + std::to_string(count) +
                    " placeholders for its picture, expected " + std::to_string(image_prompt.size(1)) +
                    " (num_query_tokens)");
  }
  const at::Tensor embeds = language_model->embed(text.ids);
  return {embeds.masked_scatter(placeholder.unsqueeze(-1).expand_as(embeds), image_prompt.to(embeds.scalar_type())),
          text.mask};
}

at::Tensor Blip2GeneratorImpl::loss(const GenerationBatch& batch) {
  const at::Tensor image_prompt = batch.tower_output.defined()
                                      ? project_image_tokens(vision_model->post_layernorm(batch.tower_output))
                                      : project_image(batch.pixels);
  at::Tensor labels = batch.labels;
  if (!language_model->is_encoder_decoder()) {
    const at::Tensor ignored = torch::full({labels.size(0), image_prompt.size(1)}, -100, labels.options());
    labels = torch::cat({ignored, labels}, 1);
  }
  return language_model->loss(prompt(image_prompt, batch.text), labels);
}

void Blip2GeneratorImpl::freeze(bool language_model_dropout) {
  frozen_ = true;
  language_model_dropout_ = language_model_dropout;
  vision_model->freeze();
  for (auto& parameter : language_model->module().parameters()) parameter.requires_grad_(false);
  language_model->module().train(false);
}

void Blip2GeneratorImpl::train(bool on) {
  torch::nn::Module::train(on);
  // Dropout of a frozen language model is noise on the teacher (LAVIS leaves it on, 13 number 9).
  if (frozen_) language_model->module().train(on && language_model_dropout_);
}

at::Tensor continuation_labels(const TextTokens& text, std::int64_t prompt_length) {
  at::Tensor labels = text.ids.masked_fill(text.mask.eq(0), -100);
  labels.slice(1, 0, std::min(prompt_length, labels.size(1))).fill_(-100);
  return labels;
}

}  // namespace blip2
