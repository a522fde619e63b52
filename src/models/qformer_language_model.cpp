#include "blip2/models/qformer_language_model.h"

#include <torch/torch.h>

#include "blip2/core/error.h"
#include "blip2/losses/image_grounded_text.h"
#include "blip2/qformer/attention_mask.h"

namespace blip2 {
namespace {

struct QFormerState final : DecodingState {
  std::vector<KeyValue> memory;  // per layer, the queries' and the text's so far
  std::int64_t length = 0;       // of the text

  void reorder(const at::Tensor& rows) override { memory = select_rows(memory, rows); }
};

}  // namespace

QFormerLanguageModel::QFormerLanguageModel(Blip2QFormer model, std::vector<KeyValue> query_memory,
                                           const SpecialIds& special)
    : model_(std::move(model)), query_memory_(std::move(query_memory)), special_(special) {}

std::pair<at::Tensor, std::vector<KeyValue>> QFormerLanguageModel::read(const at::Tensor& embeds,
                                                                        const at::Tensor& visible,
                                                                        const std::vector<KeyValue>& memory) {
  QFormerInput input;
  input.text_embeds = embeds;
  if (visible.defined()) input.self_mask = additive_mask(visible, model_->query_tokens.scalar_type());
  input.prefix = &memory;
  QFormerOutput output = model_->qformer->forward(input);
  return {model_->itg_head(output.text, model_->embeddings->word_embeddings->weight),
          std::move(output.self_attention_memory)};
}

at::Tensor QFormerLanguageModel::loss(const Prompt& prompt, const at::Tensor& labels) {
  const std::int64_t queries = model_->options().num_query_tokens, length = prompt.embeds.size(1);
  const at::Tensor visible = multimodal_causal_mask(prompt.mask, queries).narrow(2, queries, length);
  const at::Tensor logits = read(prompt.embeds, visible, query_memory_).first;
  return image_grounded_text(logits.narrow(1, length - labels.size(1), labels.size(1)), labels,
                             /*label_smoothing=*/0.0);
}

std::pair<std::unique_ptr<DecodingState>, at::Tensor> QFormerLanguageModel::begin(const Prompt& prompt) {
  const std::int64_t queries = model_->options().num_query_tokens, length = prompt.embeds.size(1);
  const at::Tensor visible = multimodal_causal_mask(prompt.mask, queries).narrow(2, queries, length);
  auto [logits, memory] = read(prompt.embeds, visible, query_memory_);
  auto state = std::make_unique<QFormerState>();
  state->memory = std::move(memory);
  state->length = length;
  return {std::move(state), logits.select(1, length - 1)};
}

at::Tensor QFormerLanguageModel::step(DecodingState& state, const at::Tensor& ids) {
  auto& own = static_cast<QFormerState&>(state);
  const at::Tensor position = model_->embeddings->position_embeddings->weight[own.length];
  const at::Tensor embeds = (model_->embeddings->word_embeddings(ids) + position).unsqueeze(1);
  auto [logits, memory] = read(embeds, /*visible=*/{}, own.memory);
  own.memory = std::move(memory);
  ++own.length;
  return logits.select(1, 0);
}

std::vector<std::vector<Caption>> caption_pictures(RepresentationModel& representation, const at::Tensor& pixels,
                                                   const GenerationOptions& options) {
  const torch::NoGradGuard no_grad;
  if (!representation.has_generation_head) {
    throw UserError(
        "this stage-1 model cannot write captions: its folder lacks the head for text generation, which export writes "
        "into stage1_heads.safetensors; caption with a stage-1 run or a stage-2 model");
  }
  const Tokenizer& tokenizer = *representation.tokenizer;
  const auto start = tokenizer.find("[DEC]"), end = tokenizer.find("[SEP]");
  if (!start || !end || *start >= representation.model->options().qformer_config.vocab_size) {
    throw UserError("this stage-1 model cannot write captions: its vocabulary has no [DEC] and [SEP]");
  }
  QFormerLanguageModel model(representation.model, representation.model->encode_image(pixels).self_attention_memory,
                             {tokenizer.padding_id(), *start, *end, -1});
  GenerationPrompt request;
  request.ids = torch::full({pixels.size(0), 1}, *start, torch::kLong);
  request.prompt = {model.embed(request.ids), torch::ones_like(request.ids)};
  return captions_of(generate(model, request, options), tokenizer);
}

}  // namespace blip2
