// Stage 2 as LAVIS computes it, with OPT and with FlanT5: the soft prompt, the loss, its gradients, and answers.
#include <torch/torch.h>

#include "blip2/generate/generate.h"
#include "blip2/lm/opt.h"
#include "blip2/lm/t5.h"
#include "blip2/text/load_tokenizer.h"
#include "trace/lavis_case.h"
#include "trace/lavis_model.h"

namespace blip2 {
namespace {

using nlohmann::json;

bool is_t5(const CaseRun& run) {
  return run.has_input("output_ids");
}

LavisModel kind_of(const CaseRun& run) {
  return is_t5(run) ? LavisModel::kT5 : LavisModel::kOpt;
}

GenerationBatch batch_of(const CaseRun& run) {
  GenerationBatch batch;
  batch.pixels = run.input("image");
  batch.text = {run.input("input_ids"), run.input("attention_mask")};
  if (is_t5(run)) {
    batch.labels = run.input("output_ids").masked_fill(run.input("output_mask").eq(0), -100);
  } else {
    // Without a prompt LAVIS trains on the leading </s> too (13, number 10).
    const bool prompted = !run.asked.at("prompt").get<std::string>().empty();
    batch.labels = continuation_labels(batch.text, prompted ? run.asked.at("prompt_length").get<std::int64_t>() : 0);
  }
  return batch;
}

/** The labels of every row that the language model reads: none on the picture's. */
at::Tensor labels_of_all_rows(const at::Tensor& labels, std::int64_t queries) {
  return torch::cat({torch::full({labels.size(0), queries}, -100, labels.options()), labels}, 1);
}

at::Tensor trace_soft_prompt(Blip2GeneratorImpl& model, const at::Tensor& pixels, NamedTensors& trace) {
  const at::Tensor tokens = model.vision_model->forward(pixels);
  const std::vector<KeyValue> memory = model.qformer->image_memory(tokens);
  QFormerInput input;
  input.query_embeds = model.query_tokens.expand({pixels.size(0), -1, -1});
  input.image_memory = &memory;
  trace["image_embeds"] = tokens;
  trace["query_output"] = model.qformer->forward(input).query;
  trace["projected"] = model.language_projection(trace["query_output"]);
  return trace["projected"];
}

void trace_loss(CaseRun& run, Blip2GeneratorImpl& model, const GenerationBatch& batch) {
  NamedTensors& trace = run.trace;
  const Prompt prompt = model.prompt(trace_soft_prompt(model, batch.pixels, trace), batch.text);
  trace["inputs_embeds"] = prompt.embeds;
  trace["attention_mask"] = prompt.mask;
  if (is_t5(run)) {
    auto& t5 = dynamic_cast<T5LanguageModelImpl&>(*model.language_model);
    trace["logits"] = t5.logits(prompt, t5.decoder_inputs(batch.labels), nullptr, run.input("output_mask"));
    trace["labels"] = batch.labels;
    trace["decoder_attention_mask"] = run.input("output_mask");
  } else {
    trace["logits"] = dynamic_cast<OptLanguageModelImpl&>(*model.language_model).logits(prompt);
    trace["labels"] = labels_of_all_rows(batch.labels, model.options().num_query_tokens);
  }
  const at::Tensor loss = model.loss(batch);
  loss.backward();
  trace["loss"] = loss;
  trace.merge(lavis_gradients(model, kind_of(run)));
  run.answers["loss"] = loss.item<double>();
}

/** LAVIS's arguments of generate(); of OPT its max_length counts one `</s>` that is not read, of T5 new tokens. */
GenerationOptions options_of(const json& asked, bool t5) {
  GenerationOptions options;
  options.num_beams = asked.at("num_beams");
  options.min_length = asked.value("min_length", 1);
  options.length_penalty = asked.value("length_penalty", 1.0);
  options.repetition_penalty = asked.value("repetition_penalty", 1.0);
  options.num_return_sequences = asked.value("num_captions", 1);
  options.length_counts_prompt = true;
  (t5 ? options.max_new_tokens : options.max_length) = asked.at("max_length").get<std::int64_t>();
  return options;
}

/** What answers follow: of OPT the case's prompt, of T5 its questions, which LAVIS does not cut here. */
TextTokens prompts_of(const CaseRun& run, const Tokenizer& tokenizer) {
  if (is_t5(run)) return tokenize(tokenizer, run.asked.at("text_input").get<std::vector<std::string>>(), {});
  const auto size = static_cast<std::size_t>(run.input("image").size(0));
  return tokenize(tokenizer, std::vector<std::string>(size, run.asked.at("prompt").get<std::string>()), {});
}

void trace_answers(CaseRun& run, Blip2GeneratorImpl& model, const Tokenizer& tokenizer) {
  const torch::NoGradGuard no_grad;
  const std::int64_t size = run.input("image").size(0);
  GenerationPrompt request;
  request.prompt = model.prompt(run.trace["projected"].detach(), prompts_of(run, tokenizer));
  if (!is_t5(run)) {
    request.ids = torch::full({size, 1}, model.language_model->special_ids().beginning, torch::kLong);
  }
  for (const json& asked : run.asked.at("generate")) {
    json answer = asked;
    answer["sequences"] = json::array();
    answer["strings"] = json::array();
    for (const auto& row : generate(*model.language_model, request, options_of(asked, is_t5(run)))) {
      for (const Hypothesis& hypothesis : row) {
        answer["sequences"].push_back(hypothesis.ids);
        answer["strings"].push_back(tokenizer.decode(hypothesis.new_tokens));
      }
    }
    run.answers["generate"].push_back(std::move(answer));
  }
}

}  // namespace

void run_lavis_stage2(CaseRun& run) {
  const std::string name = is_t5(run) ? "stage2_t5_model" : "stage2_opt_model";
  const auto tokenizer = load_tokenizer(beside(run, name));
  Blip2Generator model = load_lavis_generator(run, name, *tokenizer);
  trace_loss(run, *model, batch_of(run));
  trace_answers(run, *model, *tokenizer);
}

}  // namespace blip2
