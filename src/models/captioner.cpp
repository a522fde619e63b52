#include "blip2/models/captioner.h"

#include <torch/torch.h>

namespace blip2 {
namespace {

std::string trimmed(const std::string& text) {
  const auto first = text.find_first_not_of(" \t\n\r");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t\n\r") - first + 1);
}

}  // namespace

std::vector<std::vector<Caption>> caption_pictures(GeneratorModel& generator, const at::Tensor& pixels,
                                                   const std::string& prompt, const GenerationOptions& options) {
  torch::NoGradGuard no_grad;
  LanguageModel& language_model = *generator.model->language_model;
  const std::vector<std::string> prompts(static_cast<std::size_t>(pixels.size(0)), prompt);
  const TextTokens text = tokenize(*generator.tokenizer, prompts, {});
  GenerationPrompt request;
  request.prompt = generator.model->prompt(generator.model->project_image(pixels), text);
  if (!language_model.is_encoder_decoder()) {
    // The picture's rows count as ids for lengths; padding ids stand in for them, as the language model never sees
    // them.
    const std::int64_t queries = generator.model->options().num_query_tokens;
    const auto placeholder =
        generator.model->options().image_token_index.value_or(language_model.special_ids().padding);
    request.ids = torch::cat({torch::full({pixels.size(0), queries}, placeholder, torch::kLong), text.ids}, 1);
    request.ids_mask = request.prompt.mask;
  }
  std::vector<std::vector<Caption>> captions;
  for (const auto& row : generate(language_model, request, options)) {
    auto& answers = captions.emplace_back();
    for (const Hypothesis& hypothesis : row) {
      answers.push_back({trimmed(generator.tokenizer->decode(hypothesis.new_tokens)), hypothesis.new_tokens,
                         hypothesis.score, hypothesis.token_log_probabilities});
    }
  }
  return captions;
}

}  // namespace blip2
