#include "trace/generation_case.h"

#include <torch/torch.h>

#include "blip2/core/config.h"
#include "blip2/core/error.h"
#include "blip2/generate/generate.h"
#include "blip2/generate/rank_answers.h"
#include "blip2/models/captioner.h"
#include "trace/logits_processor_case.h"

namespace blip2 {
namespace {

using nlohmann::json;
using Ids = std::vector<std::int64_t>;

GenerationOptions options_of(const json& arguments) {
  return reference_options(arguments, "expected.json");
}

bool has_placeholders(const GeneratorModel& generator) {
  return generator.model->options().image_token_index.has_value();
}

json rows_of(const at::Tensor& ids) {
  json rows = json::array();
  const at::Tensor all = ids.contiguous();
  for (std::int64_t row = 0; row < all.size(0); ++row) {
    const auto* begin = all.const_data_ptr<std::int64_t>() + row * all.size(1);
    rows.push_back(Ids(begin, begin + all.size(1)));
  }
  return rows;
}

/** What search reads: a decoder-only model's pictures count as ids, also where no placeholder stands for them. */
GenerationPrompt prompt_of(GeneratorModel& generator, const at::Tensor& image_prompt, const TextTokens& text) {
  auto& model = *generator.model;
  GenerationPrompt request;
  request.prompt = has_placeholders(generator) ? model.prompt_with_placeholders(image_prompt, text)
                                               : model.prompt(image_prompt, text);
  if (model.language_model->is_encoder_decoder()) return request;
  request.ids = text.ids;
  if (!has_placeholders(generator)) {
    const at::Tensor unseen = torch::full({text.ids.size(0), image_prompt.size(1)},
                                          model.language_model->special_ids().padding, torch::kLong);
    request.ids = torch::cat({unseen, text.ids}, 1);
  }
  request.ids_mask = request.prompt.mask;
  return request;
}

/** How many leading ids of a row stand for a picture that the text has no placeholders for. */
std::size_t unseen_ids(const GeneratorModel& generator) {
  const bool counted = !has_placeholders(generator) && !generator.model->language_model->is_encoder_decoder();
  return counted ? static_cast<std::size_t>(generator.model->options().num_query_tokens) : 0;
}

json sequences_of(const GeneratorModel& generator, const Generated& generated) {
  json sequences = json::array();
  for (const auto& row : generated) {
    for (const auto& answer : row) {
      sequences.push_back(
          Ids(answer.ids.begin() + static_cast<std::ptrdiff_t>(unseen_ids(generator)), answer.ids.end()));
    }
  }
  return sequences;
}

json new_tokens_of(const Generated& generated) {
  json tokens = json::array();
  for (const auto& row : generated) {
    for (const auto& answer : row) tokens.push_back(answer.new_tokens);
  }
  return tokens;
}

/** Row `row` of the text without its padding. */
TextTokens single_row(const TextTokens& text, std::int64_t row) {
  const at::Tensor kept = text.mask[row].nonzero().squeeze(1);
  const at::Tensor ids = text.ids[row].index_select(0, kept).unsqueeze(0);
  return {ids, torch::ones_like(ids)};
}

json run_search(GeneratorModel& generator, const at::Tensor& projected, const std::string& name, const json& asked,
                NamedTensors& trace) {
  std::vector<std::int64_t> pictures;
  std::vector<std::string> prompts;
  bool prompted = false;
  for (const json& row : asked.at("rows")) {
    pictures.push_back(row.at("image"));
    prompts.push_back(row.at("prompt").is_null() ? "" : row.at("prompt").get<std::string>());
    prompted = prompted || !row.at("prompt").is_null();
  }
  const at::Tensor image_prompt = projected.index_select(0, torch::tensor(pictures, torch::kLong));
  const TextTokens text = case_text(generator, prompts);
  const GenerationOptions options = options_of(asked.at("options"));
  const GenerationPrompt request = prompt_of(generator, image_prompt, text);
  std::vector<at::Tensor> scores;
  const Generated generated = generate(*generator.model->language_model, request, options,
                                       [&](const StepScores& step) { scores.push_back(step.scores); });
  trace["generate." + name + ".scores"] = torch::stack(scores);

  json result = {{"options", asked.at("options")},
                 {"sequences", sequences_of(generator, generated)},
                 {"new_tokens", new_tokens_of(generated)},
                 {"steps", scores.size()},
                 {"prompt_length", request.ids.defined() ? request.ids.size(1) : 1},
                 {"text", json::array()},
                 {"single_rows", json::array()}};
  if (prompted) {
    result["input_ids"] = rows_of(text.ids);
    result["attention_mask"] = rows_of(text.mask);
  }
  for (const auto& row : generated) {
    for (const auto& answer : row) {
      result["text"].push_back(generator.tokenizer->decode(answer.new_tokens));
      if (options.num_beams > 1) result["sequences_scores"].push_back(answer.score);
    }
  }
  for (std::int64_t row = 0; row < text.ids.size(0); ++row) {
    const Generated alone =
        generate(*generator.model->language_model,
                 prompt_of(generator, image_prompt.narrow(0, row, 1), single_row(text, row)), options);
    result["single_rows"].push_back(
        {{"sequences", sequences_of(generator, alone)}, {"new_tokens", new_tokens_of(alone)}});
  }
  return result;
}

}  // namespace

TextTokens case_text(GeneratorModel& generator, const std::vector<std::string>& prompts) {
  BatchOptions batch;
  // OPT goes on where a text ends; T5's positions count from where it begins.
  if (!generator.model->language_model->is_encoder_decoder()) batch.side = PaddingSide::kLeft;
  TextTokens text = tokenize(*generator.tokenizer, prompts, batch);
  if (!has_placeholders(generator)) return text;
  const auto& options = generator.model->options();
  const std::vector<std::int64_t> shape = {text.ids.size(0), options.num_query_tokens};
  text.ids = torch::cat({torch::full(shape, *options.image_token_index, torch::kLong), text.ids}, 1);
  text.mask = torch::cat({torch::ones(shape, torch::kLong), text.mask}, 1);
  return text;
}

json run_searches(GeneratorModel& generator, const at::Tensor& projected, const json& asked, NamedTensors& trace) {
  const torch::NoGradGuard no_grad;
  json results = json::object();
  for (const auto& [name, entry] : asked.items()) {
    results[name] = run_search(generator, projected, name, entry, trace);
  }
  return results;
}

json search_sequences(GeneratorModel& generator, const at::Tensor& projected, const TextTokens& text,
                      const json& options) {
  const torch::NoGradGuard no_grad;
  return sequences_of(generator, generate(*generator.model->language_model, prompt_of(generator, projected, text),
                                          options_of(options)));
}

json rank_case_answers(GeneratorModel& generator, const at::Tensor& projected, const json& asked) {
  const torch::NoGradGuard no_grad;
  json results = json::array();
  for (const json& one : asked) {
    const TextTokens text = case_text(generator, {one.at("prompt").get<std::string>()});
    const at::Tensor image_prompt = projected.narrow(0, one.at("image").get<std::int64_t>(), 1);
    std::vector<Ids> answers;
    for (const json& answer : one.at("answers")) answers.push_back(answer_token_ids(generator, answer.at("answer")));
    const auto scores =
        score_answers(*generator.model->language_model, prompt_of(generator, image_prompt, text).prompt, answers)[0];
    json result = {{"input_ids", rows_of(text.ids)[0]}, {"answers", json::array()}};
    for (std::size_t i = 0; i < answers.size(); ++i) {
      result["answers"].push_back({{"ids", answers[i]},
                                   {"token_logprobs", scores[i].token_log_probabilities},
                                   {"sum", scores[i].sum},
                                   {"mean", scores[i].mean}});
    }
    result["order_by_sum"] = rank_answers(scores, RankBy::kSum);
    result["order_by_mean"] = rank_answers(scores, RankBy::kMean);
    results.push_back(std::move(result));
  }
  return results;
}

}  // namespace blip2
