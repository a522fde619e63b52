// Whole searches with OPT and T5 against Hugging Face: ids of every option, scores, ranked answers. The language model
// with the stored tokens of three pictures runs from tests/data (each row alone, and batches of these pictures only);
// the whole model with every batch and every step's scores where the big reference set is at hand.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

#include "blip2/checkpoint/module_state.h"
#include "blip2/core/config.h"
#include "blip2/generate/generate.h"
#include "blip2/generate/rank_answers.h"
#include "blip2/lm/language_model_options.h"
#include "blip2/models/blip2_generator.h"
#include "support/reference.h"

namespace blip2 {
namespace {

using nlohmann::json;
using Ids = std::vector<std::int64_t>;
using Rows = std::vector<Ids>;

struct Reference {
  std::string name;
  std::shared_ptr<LanguageModel> model;
  at::Tensor projected;  // [pictures, Q, width]
  json expected;
  std::int64_t image_token = 0;
  double tolerance = 0.0;
};

Reference describe(const std::string& name, const json& config) {
  Reference reference;
  reference.name = name;
  reference.image_token = config["image_token_index"];
  // T5 does not scale its attention, which amplifies rounding.
  reference.tolerance = config["text_config"]["model_type"] == "t5" ? 2e-4 : 2e-5;
  return reference;
}

Reference small_reference(const std::string& name) {
  const auto folder = test_data("generate/" + name);
  const json config = load_json(folder / "config.json");
  Reference reference = describe(name, config);
  LanguageModelOptions options;
  read_config(config["text_config"], options, "config.json", UnknownKeys::kIgnore);
  reference.model = make_language_model(options);
  LoadOptions loading;
  loading.prefix = "language_model.";
  load_parameters(reference.model->module(), load_safetensors(folder / "model.safetensors"), loading);
  reference.model->module().eval();
  reference.projected = load_safetensors(folder / "expected.safetensors").at("projected_tokens");
  reference.expected = load_json(folder / "expected.json");
  return reference;
}

at::Tensor matrix(const Rows& rows) {
  std::vector<at::Tensor> tensors;
  for (const auto& row : rows) tensors.push_back(torch::tensor(row, torch::kLong));
  return torch::stack(tensors);
}

/** The prompt of some pictures; `ids` and `mask` [B, T] with the pictures' placeholders in front. */
GenerationPrompt prompt_of(const Reference& reference, const Ids& pictures, const at::Tensor& ids,
                           const at::Tensor& mask) {
  const torch::NoGradGuard no_grad;
  const at::Tensor image = reference.projected.index_select(0, torch::tensor(pictures, torch::kLong));
  GenerationPrompt prompt;
  prompt.prompt = {torch::cat({image, reference.model->embed(ids.slice(1, image.size(1)))}, 1), mask};
  if (!reference.model->is_encoder_decoder()) {
    prompt.ids = ids;
    prompt.ids_mask = mask;
  }
  return prompt;
}

/** Ids and mask of all rows of an entry; without a prompt the placeholders and the beginning token. */
std::pair<at::Tensor, at::Tensor> ids_of(const Reference& reference, const json& entry, std::size_t rows) {
  if (entry.contains("input_ids")) {
    return {matrix(entry["input_ids"].get<Rows>()), matrix(entry["attention_mask"].get<Rows>())};
  }
  Ids row(static_cast<std::size_t>(reference.projected.size(1)), reference.image_token);
  row.push_back(reference.model->is_encoder_decoder() ? 1 : 2);
  const at::Tensor ids = matrix(Rows(rows, row));
  return {ids, torch::ones_like(ids)};
}

GenerationOptions options_of(json arguments) {
  if (arguments.contains("early_stopping") && arguments["early_stopping"].is_boolean()) {
    arguments["early_stopping"] = arguments["early_stopping"].get<bool>() ? "yes" : "no";
  }
  GenerationOptions options;
  read_config(arguments, options, "reference");
  return options;
}

Rows rows_of(const Generated& generated, bool whole) {
  Rows rows;
  for (const auto& row : generated) {
    for (const auto& answer : row) rows.push_back(whole ? answer.ids : answer.new_tokens);
  }
  return rows;
}

void expect_scores(const Generated& generated, const json& entry, std::size_t first, double tolerance) {
  if (!entry.contains("sequences_scores")) return;
  for (const auto& row : generated) {
    for (const auto& answer : row) {
      const double expected = entry["sequences_scores"][first++];
      EXPECT_NEAR(answer.score, expected, tolerance * std::abs(expected));
    }
  }
}

/** Each row alone -> how many rows were compared. */
int expect_single_rows(const Reference& reference, const std::string& name, const json& entry) {
  SCOPED_TRACE(reference.name + " " + name);
  const auto pictures = entry["rows"].get<Ids>();
  const GenerationOptions options = options_of(entry["options"]);
  const auto [ids, mask] = ids_of(reference, entry, pictures.size());
  int compared = 0;
  for (std::size_t row = 0; row < pictures.size(); ++row) {
    if (pictures[row] >= reference.projected.size(0)) continue;
    const at::Tensor kept = mask[static_cast<std::int64_t>(row)].nonzero().squeeze(1);
    const at::Tensor own = ids[static_cast<std::int64_t>(row)].index_select(0, kept).unsqueeze(0);
    const Generated generated =
        generate(*reference.model, prompt_of(reference, {pictures[row]}, own, torch::ones_like(own)), options);
    const json& expected = pictures.size() == 1 ? entry : entry["single_rows"][row];
    EXPECT_EQ(rows_of(generated, true), expected["sequences"].get<Rows>());
    EXPECT_EQ(rows_of(generated, false), expected["new_tokens"].get<Rows>());
    if (entry["single_equals_batch"]) {
      expect_scores(generated, entry, row * static_cast<std::size_t>(options.num_return_sequences),
                    reference.tolerance);
    }
    ++compared;
  }
  return compared;
}

/** Processed scores of a step. */
void expect_step(const StepScores& step, const at::Tensor& expected, double tolerance) {
  const at::Tensor rows = expected[step.step], finite = rows.isfinite();
  ASSERT_EQ(step.scores.sizes(), rows.sizes());
  ASSERT_TRUE(torch::equal(step.scores.isfinite(), finite)) << "step " << step.step;
  expect_close(step.scores.masked_select(finite), rows.masked_select(finite), tolerance,
               "step " + std::to_string(step.step));
}

/** The whole batch at once -> whether all its pictures are known. */
bool expect_batch(const Reference& reference, const std::string& name, const json& entry, const at::Tensor& scores) {
  SCOPED_TRACE(reference.name + " " + name);
  Ids pictures;
  for (const json& row : entry["rows"]) pictures.push_back(row.is_object() ? row["image"] : row);
  for (const std::int64_t picture : pictures) {
    if (picture >= reference.projected.size(0)) return false;
  }
  const auto [ids, mask] = ids_of(reference, entry, pictures.size());
  const StepObserver observer = [&](const StepScores& step) { expect_step(step, scores, reference.tolerance); };
  const Generated generated = generate(*reference.model, prompt_of(reference, pictures, ids, mask),
                                       options_of(entry["options"]), scores.defined() ? observer : StepObserver());
  EXPECT_EQ(rows_of(generated, true), entry["sequences"].get<Rows>());
  EXPECT_EQ(rows_of(generated, false), entry["new_tokens"].get<Rows>());
  expect_scores(generated, entry, 0, reference.tolerance);
  return true;
}

int expect_ranked_answers(const Reference& reference) {
  int compared = 0;
  for (const json& one : reference.expected["rank_answers"]) {
    const at::Tensor ids = torch::tensor(one["input_ids"].get<Ids>(), torch::kLong).unsqueeze(0);
    std::vector<Ids> answers;
    for (const json& answer : one["answers"]) answers.push_back(answer["ids"]);
    const GenerationPrompt prompt = prompt_of(reference, {one["image"]}, ids, torch::ones_like(ids));
    const auto scores = score_answers(*reference.model, prompt.prompt, answers)[0];
    for (std::size_t a = 0; a < answers.size(); ++a) {
      const json& expected = one["answers"][a];
      const auto values = expected["token_logprobs"].get<std::vector<double>>();
      expect_close(torch::tensor(scores[a].token_log_probabilities, torch::kDouble),
                   torch::tensor(values, torch::kDouble), reference.tolerance, reference.name + " token_logprobs");
      EXPECT_NEAR(scores[a].sum, expected["sum"], reference.tolerance * std::abs(expected["sum"].get<double>()));
      EXPECT_NEAR(scores[a].mean, expected["mean"], reference.tolerance * std::abs(expected["mean"].get<double>()));
      ++compared;
    }
    EXPECT_EQ(rank_answers(scores, RankBy::kSum), one["order_by_sum"].get<Ids>());
    EXPECT_EQ(rank_answers(scores, RankBy::kMean), one["order_by_mean"].get<Ids>());
  }
  return compared;
}

void expect_small_reference(const std::string& name, int rows, int batches) {
  const Reference reference = small_reference(name);
  int rows_compared = 0, batches_compared = 0;
  for (const auto& [entry_name, entry] : reference.expected["generate"].items()) {
    rows_compared += expect_single_rows(reference, entry_name, entry);
    batches_compared += expect_batch(reference, entry_name, entry, {}) ? 1 : 0;
  }
  EXPECT_EQ(rows_compared, rows);
  EXPECT_EQ(batches_compared, batches);
}

TEST(ReferenceGeneration, OptSaysWhatTheReferenceSays) {
  expect_small_reference("opt_tiny", 34, 2);
}

TEST(ReferenceGeneration, T5SaysWhatTheReferenceSays) {
  expect_small_reference("t5_tiny", 42, 6);
}

TEST(ReferenceGeneration, OptRanksAnswersAsTheReferenceDoes) {
  EXPECT_EQ(expect_ranked_answers(small_reference("opt_tiny")), 18);
}

TEST(ReferenceGeneration, T5RanksAnswersAsTheReferenceDoes) {
  EXPECT_EQ(expect_ranked_answers(small_reference("t5_tiny")), 18);
}

/** From the big reference set, every picture through the whole model. */
void expect_whole_model(const std::string& name) {
  const auto folder = std::filesystem::path(BLIP2_SHARED_DATA) / "fixtures/huggingface" / name;
  if (!std::filesystem::exists(folder)) return;
  const json config = load_json(folder / "model/config.json");
  Reference reference = describe(name, config);
  Blip2GeneratorOptions options;
  read_config(config, options, "config.json", UnknownKeys::kIgnore);
  Blip2Generator model(options);
  load_parameters(*model, load_safetensors(folder / "model/model.safetensors"));
  model->eval();
  reference.model = model->language_model;
  reference.expected = load_json(folder / "expected.json");
  {
    const torch::NoGradGuard no_grad;
    reference.projected = model->project_image(load_safetensors(folder / "inputs.safetensors").at("pixel_values"));
  }
  int with_scores = 0;
  const SafetensorsFile expected(folder / "expected.safetensors");
  for (const auto& [entry_name, entry] : reference.expected["generate"].items()) {
    const std::string name_of_scores = "generate." + entry_name + ".scores";  // stored for some entries
    const bool stored = expected.contains(name_of_scores);
    EXPECT_TRUE(expect_batch(reference, entry_name, entry, stored ? expected.read(name_of_scores) : at::Tensor()));
    with_scores += stored ? 1 : 0;
  }
  EXPECT_GT(with_scores, 0);
  expect_ranked_answers(reference);
}

TEST(ReferenceGeneration, WholeModelsSayWhatTheReferenceSaysWhereItIsAtHand) {
  for (const char* name : {"opt_tiny", "t5_tiny", "t5_relu_tied"}) expect_whole_model(name);
}

}  // namespace
}  // namespace blip2
