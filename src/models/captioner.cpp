#include "blip2/models/captioner.h"

#include <torch/torch.h>

#include "blip2/core/error.h"

namespace blip2 {
namespace {

std::string trimmed(const std::string& text) {
  const auto first = text.find_first_not_of(" \t\n\r");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t\n\r") - first + 1);
}

}  // namespace

std::vector<std::int64_t> answer_token_ids(const GeneratorModel& generator, const std::string& answer) {
  const LanguageModel& model = *generator.model->language_model;
  const bool continues = !model.is_encoder_decoder();
  auto ids = generator.tokenizer->encode(continues ? " " + answer : answer, /*add_special_tokens=*/false);
  ids.push_back(model.special_ids().end);
  return ids;
}

std::vector<std::vector<RankedAnswer>> rank_given_answers(GeneratorModel& generator, const at::Tensor& pixels,
                                                          const std::string& prompt,
                                                          const std::vector<std::string>& answers, RankBy by) {
  torch::NoGradGuard no_grad;
  std::vector<std::vector<std::int64_t>> ids;
  for (const std::string& answer : answers) {
    if (trimmed(answer).empty()) throw UserError("an answer to rank is empty");
    ids.push_back(answer_token_ids(generator, trimmed(answer)));
  }
  const std::vector<std::string> prompts(static_cast<std::size_t>(pixels.size(0)), prompt);
  const TextTokens text = tokenize(*generator.tokenizer, prompts, {});
  const auto scores = score_answers(*generator.model->language_model,
                                    generator.model->prompt(generator.model->project_image(pixels), text), ids);
  std::vector<std::vector<RankedAnswer>> ranked;
  for (const auto& row : scores) {
    auto& own = ranked.emplace_back();
    for (const std::int64_t index : rank_answers(row, by)) {
      const auto i = static_cast<std::size_t>(index);
      own.push_back({trimmed(answers[i]), ids[i], row[i]});
    }
  }
  return ranked;
}

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
  return captions_of(generate(language_model, request, options), *generator.tokenizer);
}

std::vector<std::vector<Caption>> captions_of(const Generated& generated, const Tokenizer& tokenizer) {
  std::vector<std::vector<Caption>> captions;
  for (const auto& row : generated) {
    auto& answers = captions.emplace_back();
    for (const Hypothesis& hypothesis : row) {
      answers.push_back({trimmed(tokenizer.decode(hypothesis.new_tokens)), hypothesis.new_tokens, hypothesis.score,
                         hypothesis.token_log_probabilities});
    }
  }
  return captions;
}

}  // namespace blip2
