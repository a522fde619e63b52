#include "blip2/lm/opt.h"

#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "lm/decoding.h"
#include "lm/reference_case.h"
#include "support/expect_error.h"

namespace blip2 {
namespace {

constexpr double kTolerance = 2e-5;  // of the reference set, float32
constexpr int kVocabularyStep = 9, kTokenStep = 6, kGradientStep = 4;

OptOptions small_options() {
  OptOptions options;
  options.vocab_size = 31;
  options.hidden_size = 12;
  options.num_hidden_layers = 2;
  options.ffn_dim = 20;
  options.max_position_embeddings = 60;
  options.num_attention_heads = 3;
  options.init_std = 0.3;  // far from uniform answers
  return options;
}

/** The prompt without padding, then the ids: every row by itself, all at once. */
FullPass full_pass(OptLanguageModel model) {
  return [model](const Prompt& prompt, const at::Tensor& ids) mutable {
    std::vector<at::Tensor> rows;
    for (std::int64_t row = 0; row < ids.size(0); ++row) {
      const at::Tensor kept = prompt.embeds[row].index_select(0, prompt.mask[row].nonzero().squeeze(1));
      const at::Tensor all = torch::cat({kept, model->embed(ids[row])}).unsqueeze(0);
      rows.push_back(model->logits({all, torch::ones({1, all.size(1)}, torch::kLong)})[0][-1]);
    }
    return torch::stack(rows);
  };
}

class OptShapes : public testing::TestWithParam<const char*> {
 protected:
  OptOptions options() const {
    OptOptions options = small_options();
    if (std::string(GetParam()) == "post_norm") {  // OPT-350m
      options.do_layer_norm_before = false;
      options.word_embed_proj_dim = 8;
    } else if (std::string(GetParam()) == "own_head") {
      options.tie_word_embeddings = false;
      options.enable_bias = false;
      options.layer_norm_elementwise_affine = false;
    }
    return options;
  }
};

TEST_P(OptShapes, StepsEqualFullPasses) {
  auto model = double_model<OptLanguageModel>(options());
  for (const bool in_front : {true, false}) {
    expect_steps_equal_full_passes(*model, padded_prompt(*model, 3, 6, in_front), 40, 1e-12, full_pass(model));
  }
}

TEST_P(OptShapes, ReorderedRowsKeepTheirHistories) {
  auto model = double_model<OptLanguageModel>(options());
  expect_reorder_keeps_histories(*model, padded_prompt(*model, 3, 6, true), 1e-12, full_pass(model));
}

INSTANTIATE_TEST_SUITE_P(Opt, OptShapes, testing::Values("pre_norm", "post_norm", "own_head"));

TEST(Opt, PaddedBatchEqualsSingleRows) {
  auto model = double_model<OptLanguageModel>(small_options());
  const at::Tensor ids = torch::randint(3, 31, {4, 5}, torch::kLong);
  expect_batch_equals_single_rows(*model, padded_prompt(*model, 4, 7, true), ids, 1e-12);
  expect_batch_equals_single_rows(*model, padded_prompt(*model, 4, 7, false), ids, 1e-12);
}

TEST(Opt, LaterTokensDoNotChangeEarlierLogits) {
  auto model = double_model<OptLanguageModel>(small_options());
  Prompt prompt = padded_prompt(*model, 1, 6, true);
  const at::Tensor before = model->logits(prompt);
  prompt.embeds = prompt.embeds.clone();
  prompt.embeds.select(1, 4).add_(1.0 + torch::rand({12}));
  const at::Tensor after = model->logits(prompt);
  EXPECT_EQ(largest_difference(before.narrow(1, 0, 4), after.narrow(1, 0, 4)), 0);
  EXPECT_GT(largest_difference(before.narrow(1, 4, 2), after.narrow(1, 4, 2)), 1e-3);
}

TEST(Opt, EqualsHuggingFace) {
  const ReferenceCase reference("opt_tiny");
  OptLanguageModel model(reference.options<OptOptions>());
  model->eval();
  EXPECT_EQ(reference.weights.size(), model->parameters().size());
  fill_parameters(*model, reference.weights);
  for (const std::string run : {"forward.right", "forward.left"}) {
    const Prompt prompt = reference.prompt(*model, run);
    std::vector<at::Tensor> states;
    const at::Tensor logits = model->logits(prompt, &states);
    expect_close(read_rows(every(logits, 2, kVocabularyStep), prompt.mask),
                 read_rows(reference.at(run + ".logits"), prompt.mask), kTolerance, run + ".logits");
    expect_close(model->loss(prompt, reference.at(run + ".labels")), reference.at(run + ".loss"), kTolerance,
                 run + ".loss");
    if (run == "forward.left") continue;
    ASSERT_EQ(states.size(), 4U);
    const at::Tensor mask = every(prompt.mask, 1, kTokenStep);
    for (std::size_t i = 0; i < states.size(); ++i) {
      const std::string name = run + ".lm_hidden_states." + std::to_string(i);
      expect_close(read_rows(every(states[i], 1, kTokenStep), mask), read_rows(reference.at(name), mask), kTolerance,
                   name);
    }
    expect_close(model->loss(prompt, reference.at("forward.suffix.labels")), reference.at("forward.suffix.loss"),
                 kTolerance, "forward.suffix.loss");
  }
}

TEST(Opt, GradientsEqualHuggingFace) {
  const ReferenceCase reference("opt_tiny");
  OptLanguageModel model(reference.options<OptOptions>());
  model->eval();
  fill_parameters(*model, reference.weights);
  model->loss(reference.prompt(*model, "forward.left"), reference.at("forward.left.labels")).backward();
  double largest = 0;
  for (const auto& [name, tensor] : reference.tensors) {
    if (name.starts_with("grad.")) largest = std::max(largest, tensor.abs().max().item<double>());
  }
  for (const auto& item : model->named_parameters()) {
    const at::Tensor expected = reference.at("grad." + item.key());
    const at::Tensor gradient =
        item.value().dim() == 1 ? item.value().grad() : every(item.value().grad(), 0, kGradientStep);
    EXPECT_LE(largest_difference(gradient, expected), kTolerance * largest) << item.key();
  }
}

TEST(Opt, EqualsLavisWithAndWithoutAPrompt) {
  for (const std::string name : {"stage2_opt_prompt", "stage2_opt_empty_prompt"}) {
    const LavisCase reference("stage2_opt_model", name);
    OptOptions options;
    read_config(reference.config, options, "config.json", UnknownKeys::kIgnore);
    OptLanguageModel model(options);
    fill_parameters(*model, reference.weights, "language_model.");
    const Prompt prompt{reference.expected.at("inputs_embeds"), reference.expected.at("attention_mask")};
    expect_close(read_rows(every(model->logits(prompt), 2, kVocabularyStep), prompt.mask),
                 read_rows(reference.logits, prompt.mask), 1e-5, name + " logits");
    expect_close(model->loss(prompt, reference.expected.at("labels")), reference.expected.at("loss"), 1e-5,
                 name + " loss");
  }
}

TEST(Opt, PublishedParameterCounts) {
  WeightOptions shapes_only;
  shapes_only.device = at::kMeta;
  auto count = [&](const OptOptions& options) { return count_parameters(*OptLanguageModel(options, shapes_only)); };
  EXPECT_EQ(count(opt_2_7b_options()), 2651678720);  // Hugging Face 2.3
  OptOptions as_published = opt_2_7b_options();
  as_published.vocab_size = 50272;
  EXPECT_EQ(count(as_published), 2651596800);
  EXPECT_EQ(count(opt_125m_options()), 125239296);
  EXPECT_EQ(count(opt_350m_options()), 331196416);
  EXPECT_EQ(count(opt_1_3b_options()), 1315758080);
  EXPECT_EQ(count(opt_6_7b_options()), 6658473984 + 32 * 4096);  // 32 rows more than the published vocabulary
  EXPECT_EQ(OptLanguageModel(opt_2_7b_options(), shapes_only)->parameters().size(), 516U);
}

TEST(Opt, LossLeavesOutIgnoredLabels) {
  auto model = double_model<OptLanguageModel>(small_options());
  const Prompt prompt = padded_prompt(*model, 1, 6, true);
  const at::Tensor logits = model->logits(prompt)[0];
  const at::Tensor labels = torch::tensor({{9, -100, 4, 7}}, torch::kLong);  // of rows 2..5; the first has no predictor
  const at::Tensor log_probabilities = logits.log_softmax(-1);
  const at::Tensor expected = -(log_probabilities[3][4] + log_probabilities[4][7]) / 2;
  EXPECT_LE(largest_difference(model->loss(prompt, labels), expected), 1e-12);
  EXPECT_EQ(model->loss(prompt, torch::full({1, 4}, -100, torch::kLong)).item<double>(), 0.0);
}

TEST(Opt, DropoutActsInTrainingModeOnly) {
  OptLanguageModel model(small_options());
  const Prompt prompt = padded_prompt(*model, 2, 6, true);
  model->train();
  EXPECT_GT(largest_difference(model->logits(prompt), model->logits(prompt)), 1e-4);
  model->eval();
  EXPECT_EQ(largest_difference(model->logits(prompt), model->logits(prompt)), 0);
}

TEST(Opt, FreshWeightsAreNormalAndBiasesZero) {
  torch::manual_seed(7);
  OptOptions options = small_options();
  options.hidden_size = 96;
  options.init_std = 0.02;
  OptLanguageModel model(options);
  for (const auto& item : model->named_parameters()) {
    const std::string& name = item.key();
    if (name.find("layer_norm.weight") != std::string::npos) {
      EXPECT_TRUE(item.value().eq(1).all().item<bool>()) << name;
    } else if (name.find("bias") != std::string::npos) {
      EXPECT_TRUE(item.value().eq(0).all().item<bool>()) << name;
    } else {
      EXPECT_NEAR(item.value().std().item<double>(), 0.02, 0.002) << name;
    }
  }
  EXPECT_EQ(model->embed(torch::tensor({1}, torch::kLong)).abs().max().item<double>(), 0.0);  // padding
}

TEST(Opt, LearnsASentenceFromNothing) {
  torch::manual_seed(8);
  OptOptions options = small_options();
  options.dropout = 0;
  options.init_std = 0.02;
  OptLanguageModel model(options);
  const at::Tensor ids = torch::tensor({{2, 9, 4, 7, 20, 5, 2}}, torch::kLong), mask = torch::ones_like(ids);
  torch::optim::Adam optimizer(model->parameters(), 0.02);
  for (int i = 0; i < 40; ++i) {
    optimizer.zero_grad();
    model->loss({model->embed(ids), mask}, ids).backward();
    optimizer.step();
  }
  EXPECT_LT(model->loss({model->embed(ids), mask}, ids).item<double>(), 0.05);
}

TEST(Opt, RunsInBfloat16NearFloat32) {
  torch::manual_seed(9);
  OptLanguageModel model(small_options());
  model->eval();
  const Prompt prompt = padded_prompt(*model, 2, 6, true);
  const at::Tensor expected = model->begin(prompt).second;
  model->to(torch::kBFloat16);
  const auto [state, logits] = model->begin(prompt);
  EXPECT_EQ(logits.scalar_type(), torch::kFloat);
  EXPECT_LE(largest_difference(logits, expected), 4e-2 * expected.abs().max().item<double>());
  EXPECT_TRUE(model->step(*state, logits.argmax(1)).isfinite().all().item<bool>());
}

TEST(Opt, PaddingInFrontStaysFiniteUnderAutocast) {
  torch::manual_seed(10);
  OptLanguageModel model(small_options());
  model->eval();
  const Prompt prompt = padded_prompt(*model, 3, 6, true);
  const at::Tensor expected = model->logits(prompt).detach();
  at::autocast::set_autocast_enabled(at::kCPU, true);
  const at::Tensor logits = model->logits(prompt).detach();
  at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(at::kCPU, false);
  EXPECT_EQ(logits.scalar_type(), torch::kBFloat16);
  EXPECT_TRUE(logits.isfinite().all().item<bool>());
  EXPECT_LE(largest_difference(read_rows(logits.to(torch::kFloat), prompt.mask), read_rows(expected, prompt.mask)),
            5e-2 * expected.abs().max().item<double>());
}

TEST(Opt, RefusesMorePositionsThanItHas) {
  OptOptions options = small_options();
  options.max_position_embeddings = 8;
  auto model = double_model<OptLanguageModel>(options);
  EXPECT_USER_ERROR(model->begin(padded_prompt(*model, 1, 9, true)),
                    "has 8 positions for prompt and answer together, but this sequence needs 9: shorten");
  // Padding takes no position.
  Prompt padded = padded_prompt(*model, 1, 9, true);
  padded.mask.narrow(1, 0, 2).zero_();
  auto [state, logits] = model->begin(padded);
  model->step(*state, logits.argmax(1));
  EXPECT_USER_ERROR(model->step(*state, logits.argmax(1)), "this sequence needs 9");
}

TEST(Opt, RefusesWrongShapes) {
  auto model = double_model<OptLanguageModel>(small_options());
  const Prompt prompt = padded_prompt(*model, 2, 6, true);
  EXPECT_THROW(model->logits({prompt.embeds.narrow(2, 0, 5), prompt.mask}), c10::Error);
  EXPECT_THROW(model->logits({prompt.embeds, prompt.mask.narrow(1, 0, 5)}), c10::Error);
  EXPECT_THROW(model->loss(prompt, torch::zeros({2, 7}, torch::kLong)), c10::Error);
  auto state = std::move(model->begin(prompt).first);
  EXPECT_THROW(model->step(*state, torch::zeros({3}, torch::kLong)), c10::Error);
}

TEST(OptOptions, NamesTheFieldThatMakesNoSense) {
  OptOptions options = small_options();
  options.num_attention_heads = 5;
  EXPECT_USER_ERROR(OptLanguageModel(options),
                    "text_config: hidden_size 12 must be a positive multiple of "
                    "num_attention_heads 5");
  options = small_options();
  options.vocab_size = std::int64_t{1} << 60;
  EXPECT_USER_ERROR(OptLanguageModel(options), "text_config: vocab_size 1152921504606846976 must lie between 1 and");
  options = small_options();
  options.dropout = 1;
  EXPECT_USER_ERROR(OptLanguageModel(options), "dropout probabilities must lie in [0, 1)");
  options = small_options();
  options.activation_function = "relo";
  EXPECT_USER_ERROR(OptLanguageModel(options), "unknown activation 'relo'");
}

}  // namespace
}  // namespace blip2
