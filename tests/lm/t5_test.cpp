#include "blip2/lm/t5.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "lm/decoding.h"
#include "lm/reference_case.h"
#include "lm/relative_position.h"
#include "support/expect_error.h"

namespace blip2 {
namespace {

constexpr double kTolerance = 2e-4;  // of the reference set: unscaled attention amplifies rounding
constexpr double kDoubleTolerance = 1e-12;
constexpr int kVocabularyStep = 9, kTokenStep = 6;

T5Options small_options() {
  T5Options options;
  options.vocab_size = 31;
  options.d_model = 12;
  options.d_kv = 5;
  options.d_ff = 20;
  options.num_layers = 2;
  options.num_decoder_layers = 3;
  options.num_heads = 3;
  options.relative_attention_num_buckets = 8;
  options.relative_attention_max_distance = 16;
  options.feed_forward_proj = "gated-gelu";
  options.dense_act_fn = "gelu";
  options.is_gated_act = true;
  options.tie_word_embeddings = false;
  options.scale_decoder_outputs = false;
  return options;
}

/** Encoder and the whole decoder again. */
FullPass full_pass(T5LanguageModel model) {
  return [model](const Prompt& prompt, const at::Tensor& ids) mutable {
    const at::Tensor start = torch::zeros({ids.size(0), 1}, torch::kLong);
    return model->logits(prompt, torch::cat({start, ids}, 1)).select(1, -1);
  };
}

TEST(T5, StepsEqualFullPasses) {
  for (const bool tied : {false, true}) {
    T5Options options = small_options();
    options.tie_word_embeddings = options.scale_decoder_outputs = tied;
    auto model = double_model<T5LanguageModel>(options);
    expect_steps_equal_full_passes(*model, padded_prompt(*model, 3, 6, false), 40, 1e-12, full_pass(model));
  }
}

TEST(T5, ReorderedRowsKeepTheirHistories) {
  auto model = double_model<T5LanguageModel>(small_options());
  expect_reorder_keeps_histories(*model, padded_prompt(*model, 3, 6, false), 1e-12, full_pass(model));
  Prompt unpadded = padded_prompt(*model, 3, 6, false);
  unpadded.mask.fill_(1);
  expect_reorder_keeps_histories(*model, unpadded, 1e-12, full_pass(model));
}

TEST(T5, PaddedBatchEqualsSingleRows) {
  auto model = double_model<T5LanguageModel>(small_options());
  const at::Tensor ids = torch::randint(2, 31, {4, 5}, torch::kLong);
  expect_batch_equals_single_rows(*model, padded_prompt(*model, 4, 7, false), ids, 1e-12);
}

TEST(T5, ReadsPromptAndPositionsOfTheAnswer) {
  auto model = double_model<T5LanguageModel>(small_options());
  const at::Tensor ids = torch::tensor({{0, 7, 7, 7}}, torch::kLong);
  Prompt prompt = padded_prompt(*model, 1, 6, false);
  const at::Tensor before = model->logits(prompt, ids);
  EXPECT_GT(largest_difference(before.select(1, 2), before.select(1, 3)), 1e-3);  // only the distance to 0 differs
  EXPECT_GT(largest_difference(before, model->logits({prompt.embeds.flip({1}), prompt.mask}, ids)), 1e-3);
}

TEST(T5, GradientOfThePositionBiasesEqualsDifferences) {
  auto model = double_model<T5LanguageModel>(small_options());
  const Prompt prompt = padded_prompt(*model, 2, 6, false);
  const at::Tensor labels = torch::tensor({{4, 5, 6, 1}, {9, 1, -100, -100}}, torch::kLong);
  model->loss(prompt, labels).backward();
  for (const std::string stack : {"encoder", "decoder"}) {
    at::Tensor bias =
        model->named_parameters()[stack + ".block.0.layer.0.SelfAttention.relative_attention_bias.weight"];
    torch::NoGradGuard no_grad;
    auto loss_at = [&](double shift) {
      bias[1][2] += shift;
      const double loss = model->loss(prompt, labels).item<double>();
      bias[1][2] -= shift;
      return loss;
    };
    const double expected = (loss_at(1e-5) - loss_at(-1e-5)) / 2e-5;
    EXPECT_NEAR(bias.grad()[1][2].item<double>(), expected, 1e-8) << stack;
    EXPECT_GT(std::abs(expected), 1e-6) << stack;
  }
}

// Ungated, tied, scaled, and a prompt longer than the largest distance; EqualsLavis has the gated form of FlanT5.
TEST(T5, EqualsHuggingFace) {
  const ReferenceCase reference("t5_relu_tied");
  T5LanguageModel model(reference.options<T5Options>());
  model->eval();
  EXPECT_EQ(reference.weights.size(), model->parameters().size());
  fill_parameters(*model, reference.weights);
  for (const std::string run : {"forward.right", "forward.left"}) {
    const Prompt prompt = reference.prompt(*model, run);
    const at::Tensor labels = reference.at(run + ".labels");
    T5Trace trace;
    const at::Tensor logits = model->logits(prompt, model->decoder_inputs(labels), &trace);
    expect_close(every(logits, 2, kVocabularyStep), reference.at(run + ".logits"), kTolerance, run + ".logits");
    expect_close(model->loss(prompt, labels), reference.at(run + ".loss"), kTolerance, run + ".loss");
    if (run == "forward.left") continue;
    const at::Tensor mask = every(prompt.mask, 1, kTokenStep);
    ASSERT_EQ(trace.encoder_hidden_states.size(), static_cast<std::size_t>(model->options().num_layers + 1));
    for (std::size_t i = 0; i < trace.encoder_hidden_states.size(); ++i) {
      const std::string name = run + ".encoder_hidden_states." + std::to_string(i);
      expect_close(read_rows(every(trace.encoder_hidden_states[i], 1, kTokenStep), mask),
                   read_rows(reference.at(name), mask), kTolerance, name);
    }
    ASSERT_EQ(trace.decoder_hidden_states.size(), 3U);
    for (std::size_t i = 0; i < 3; ++i) {
      const std::string name = run + ".decoder_hidden_states." + std::to_string(i);
      expect_close(every(trace.decoder_hidden_states[i], 1, kTokenStep), reference.at(name), kTolerance, name);
    }
  }
}

TEST(T5, EqualsHuggingFaceInDoubleToEveryDigit) {
  const ReferenceCase reference("t5_relu_tied");
  auto model = double_model<T5LanguageModel>(reference.options<T5Options>());
  fill_parameters(*model, reference.weights);
  const NamedTensors expected = load_safetensors(test_data("double/t5.safetensors"));
  const Prompt prompt = reference.prompt(*model, "forward.right");
  const at::Tensor labels = reference.at("forward.right.labels");
  const at::Tensor loss = model->loss(prompt, labels);
  loss.backward();
  expect_close(loss, expected.at("loss"), kDoubleTolerance, "loss");
  expect_close(every(model->logits(prompt, model->decoder_inputs(labels)), 2, kVocabularyStep), expected.at("logits"),
               kDoubleTolerance, "logits");
  const auto parameters = model->named_parameters();
  int compared = 0;
  for (const auto& [name, tensor] : expected) {
    if (!name.starts_with("grad.")) continue;
    expect_close(parameters[name.substr(5)].grad(), tensor, kDoubleTolerance, name);
    ++compared;
  }
  EXPECT_EQ(compared, 5);
}

TEST(T5, EqualsLavis) {
  const LavisCase reference("stage2_t5_model", "stage2_t5");
  T5Options options;
  read_config(reference.config, options, "config.json", UnknownKeys::kIgnore);
  T5LanguageModel model(options);
  fill_parameters(*model, reference.weights, "language_model.");
  const Prompt prompt{reference.expected.at("inputs_embeds"), reference.expected.at("attention_mask")};
  const at::Tensor labels = reference.expected.at("labels");
  const at::Tensor logits = every(model->logits(prompt, model->decoder_inputs(labels)), 2, kVocabularyStep);
  expect_close(read_rows(logits, labels.ne(-100)), read_rows(reference.logits, labels.ne(-100)), 1e-5, "logits");
  expect_close(model->loss(prompt, labels), reference.expected.at("loss"), 1e-5, "loss");
}

TEST(T5, PublishedParameterCounts) {
  WeightOptions shapes_only;
  shapes_only.device = at::kMeta;
  const T5LanguageModel xl(flan_t5_xl_options(), shapes_only);
  EXPECT_EQ(count_parameters(*xl), 2849757184);  // Hugging Face 2.3
  EXPECT_EQ(xl->parameters().size(), 558U);
  EXPECT_EQ(count_parameters(*T5LanguageModel(flan_t5_xxl_options(), shapes_only)), 11135332352);
  EXPECT_EQ(count_parameters(*T5LanguageModel(T5Options(), shapes_only)), 60506624);  // T5 v1.0 small
}

TEST(T5, DropoutActsInTrainingModeOnly) {
  T5LanguageModel model(small_options());
  const Prompt prompt = padded_prompt(*model, 2, 6, false);
  const at::Tensor ids = torch::tensor({{0, 3}, {0, 9}}, torch::kLong);
  model->train();
  EXPECT_GT(largest_difference(model->logits(prompt, ids), model->logits(prompt, ids)), 1e-4);
  model->eval();
  EXPECT_EQ(largest_difference(model->logits(prompt, ids), model->logits(prompt, ids)), 0);
}

TEST(T5, RunsInBfloat16NearFloat32) {
  torch::manual_seed(9);
  T5LanguageModel model(small_options());
  model->eval();
  const Prompt prompt = padded_prompt(*model, 2, 6, false);
  const at::Tensor expected = model->begin(prompt).second;
  model->to(torch::kBFloat16);
  const auto [state, logits] = model->begin(prompt);
  EXPECT_EQ(logits.scalar_type(), torch::kFloat);
  EXPECT_LE(largest_difference(logits, expected), 4e-2 * expected.abs().max().item<double>());
  EXPECT_TRUE(model->step(*state, logits.argmax(1)).isfinite().all().item<bool>());
}

TEST(T5, ShiftsLabelsBehindTheStartToken) {
  const T5LanguageModel model(small_options());
  const at::Tensor labels = torch::tensor({{5, 6, 1}, {7, 1, -100}, {1, -100, -100}}, torch::kLong);
  const at::Tensor expected = torch::tensor({{0, 5, 6}, {0, 7, 1}, {0, 1, 0}}, torch::kLong);
  EXPECT_TRUE(torch::equal(model->decoder_inputs(labels), expected));
}

TEST(T5, RefusesWrongShapesAndForeignStates) {
  auto model = double_model<T5LanguageModel>(small_options());
  const Prompt prompt = padded_prompt(*model, 2, 6, false);
  EXPECT_THROW(model->begin({prompt.embeds.narrow(2, 0, 5), prompt.mask}), c10::Error);
  EXPECT_THROW(model->logits(prompt, torch::zeros({3, 2}, torch::kLong)), c10::Error);
  auto state = std::move(model->begin(prompt).first);
  EXPECT_THROW(model->step(*state, torch::zeros({3}, torch::kLong)), c10::Error);
  struct Foreign final : DecodingState {
    void reorder(const at::Tensor&) override {}
  } foreign;
  EXPECT_THROW(model->step(foreign, torch::zeros({2}, torch::kLong)), c10::Error);
}

TEST(T5Options, NameTheFieldThatMakesNoSense) {
  T5Options options = small_options();
  options.relative_attention_num_buckets = 7;
  EXPECT_USER_ERROR(T5LanguageModel(options), "relative_attention_num_buckets 7 must be even and at least 4");
  options = small_options();
  options.relative_attention_max_distance = 4;
  EXPECT_USER_ERROR(T5LanguageModel(options), "relative_attention_max_distance 4 must lie above half of");
  options = small_options();
  options.d_kv = 0;
  EXPECT_USER_ERROR(T5LanguageModel(options), "text_config: d_kv 0 must lie between 1 and");
  options = small_options();
  options.dropout_rate = -0.1;
  EXPECT_USER_ERROR(T5LanguageModel(options), "dropout_rate must lie in [0, 1)");
  WeightOptions half;
  half.dtype = at::kHalf;
  EXPECT_USER_ERROR(T5LanguageModel(small_options(), half), "T5 overflows in float16");
}

/** Spec 3.6, one pair at a time. */
std::int64_t bucket_of(std::int64_t relative, bool bidirectional, std::int64_t buckets, std::int64_t max_distance) {
  const std::int64_t n = bidirectional ? buckets / 2 : buckets, exact = n / 2;
  const std::int64_t base = bidirectional && relative > 0 ? n : 0;
  const std::int64_t distance = bidirectional ? std::abs(relative) : std::max<std::int64_t>(-relative, 0);
  if (distance < exact) return base + distance;
  const float position = std::log(static_cast<float>(distance) / static_cast<float>(exact)) /
                         static_cast<float>(std::log(static_cast<double>(max_distance) / static_cast<double>(exact))) *
                         static_cast<float>(n - exact);
  return base + std::min(n - 1, exact + static_cast<std::int64_t>(position));
}

TEST(RelativePosition, BucketsEqualTheFormulaForEveryPair) {
  for (const bool bidirectional : {true, false}) {
    const at::Tensor buckets = relative_position_buckets({32, 128, bidirectional}, 150, 150, 0);
    for (std::int64_t query = 0; query < 150; query += 7) {
      for (std::int64_t key = 0; key < 150; ++key) {
        ASSERT_EQ(buckets[query][key].item<std::int64_t>(), bucket_of(key - query, bidirectional, 32, 128))
            << key - query;
      }
    }
  }
  // Known edges: exact below 8 and 16, the farthest bucket beyond 128.
  const at::Tensor encoder = relative_position_buckets({32, 128, true}, 1, 300, 0)[0];
  EXPECT_EQ(encoder[7].item<std::int64_t>(), 23);
  EXPECT_EQ(encoder[8].item<std::int64_t>(), 24);
  EXPECT_EQ(encoder[299].item<std::int64_t>(), 31);
}

TEST(RelativePosition, OneStepIsTheLastRowOfTheWholePass) {
  const at::Tensor whole = relative_position_buckets({32, 128, false}, 140, 140, 0);
  EXPECT_TRUE(torch::equal(relative_position_buckets({32, 128, false}, 1, 140, 139)[0], whole[139]));
}

}  // namespace
}  // namespace blip2
