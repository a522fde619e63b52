#include "blip2/models/blip2_generator.h"

#include <torch/torch.h>

namespace blip2 {
namespace {

Blip2GeneratorOptions resolved(Blip2GeneratorOptions options) {
  options.qformer_config.use_qformer_text_input = false;  // stage 2 feeds queries only
  resolve(options);
  return options;
}

}  // namespace

Blip2GeneratorImpl::Blip2GeneratorImpl(const Blip2GeneratorOptions& options) : options_(resolved(options)) {
  const std::int64_t width = options_.qformer_config.hidden_size;
  vision_model = register_module("vision_model", make_vision_encoder(options_.vision_config));
  query_tokens = register_parameter("query_tokens", torch::empty({1, options_.num_query_tokens, width}));
  qformer = register_module("qformer", QFormer(options_.qformer_config));
  language_model = make_language_model(options_.text_config);
  language_projection = register_module("language_projection", torch::nn::Linear(width, language_model->width()));
  register_module("language_model", language_model->module().shared_from_this());
  torch::NoGradGuard no_grad;
  torch::nn::init::normal_(query_tokens, 0.0, options_.qformer_config.initializer_range);
}

at::Tensor Blip2GeneratorImpl::project_image(const at::Tensor& pixels, QFormerTrace* trace) {
  const std::vector<KeyValue> image_memory = qformer->image_memory(vision_model->forward(pixels));
  QFormerInput input;
  input.query_embeds = query_tokens.expand({pixels.size(0), -1, -1});
  input.image_memory = &image_memory;
  return language_projection(qformer->forward(input, trace).query);
}

Prompt Blip2GeneratorImpl::prompt(const at::Tensor& image_prompt, const TextTokens& text) {
  const at::Tensor visible = torch::ones({image_prompt.size(0), image_prompt.size(1)}, text.mask.options());
  return {torch::cat({image_prompt, language_model->embed(text.ids)}, 1), torch::cat({visible, text.mask}, 1)};
}

at::Tensor Blip2GeneratorImpl::loss(const GenerationBatch& batch) {
  const at::Tensor image_prompt = project_image(batch.pixels);
  at::Tensor labels = batch.labels;
  if (!language_model->is_encoder_decoder()) {
    const at::Tensor ignored = torch::full({labels.size(0), image_prompt.size(1)}, -100, labels.options());
    labels = torch::cat({ignored, labels}, 1);
  }
  return language_model->loss(prompt(image_prompt, batch.text), labels);
}

void Blip2GeneratorImpl::freeze() {
  frozen_ = true;
  vision_model->freeze();
  for (auto& parameter : language_model->module().parameters()) parameter.requires_grad_(false);
  language_model->module().train(false);
}

void Blip2GeneratorImpl::train(bool on) {
  torch::nn::Module::train(on);
  // Dropout of a frozen language model would be noise on the teacher (LAVIS leaves it on, 13 number 9).
  if (frozen_) language_model->module().train(false);
}

at::Tensor continuation_labels(const TextTokens& text, std::int64_t prompt_length) {
  at::Tensor labels = text.ids.masked_fill(text.mask.eq(0), -100);
  labels.slice(1, 0, std::min(prompt_length, labels.size(1))).fill_(-100);
  return labels;
}

}  // namespace blip2
