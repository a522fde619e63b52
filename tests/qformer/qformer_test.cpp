#include "blip2/qformer/qformer.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "blip2/qformer/attention_mask.h"
#include "support/expect_error.h"

namespace blip2 {
namespace {

constexpr std::int64_t kQueries = 5, kLength = 6, kBatch = 3;

QFormerOptions small_options() {
  QFormerOptions options;
  options.hidden_size = 24;
  options.num_hidden_layers = 4;
  options.num_attention_heads = 3;
  options.intermediate_size = 48;
  options.encoder_hidden_size = 20;
  options.initializer_range = 0.2;
  options.use_qformer_text_input = true;
  return options;
}

class QFormerTest : public testing::Test {
 protected:
  void SetUp() override {
    torch::manual_seed(0);
    qformer = QFormer(small_options());
    qformer->to(torch::kDouble);
    qformer->eval();
    const auto options = torch::dtype(torch::kDouble);
    queries = torch::randn({kBatch, kQueries, 24}, options);
    text = torch::randn({kBatch, kLength, 24}, options);
    memory = qformer->image_memory(torch::randn({kBatch, 7, 20}, options));
    text_mask = torch::tensor({{1, 1, 1, 1, 1, 1}, {1, 1, 1, 0, 0, 0}, {1, 0, 0, 0, 0, 0}}, torch::kLong);
  }

  QFormerOutput pass(const at::Tensor& query_embeds, const at::Tensor& text_embeds, const at::Tensor& visible,
                     const std::vector<KeyValue>* prefix = nullptr) {
    QFormerInput input;
    input.query_embeds = query_embeds;
    input.text_embeds = text_embeds;
    if (visible.defined()) input.self_mask = additive_mask(visible, torch::kDouble);
    input.image_memory = &memory;
    input.prefix = prefix;
    return qformer->forward(input);
  }

  static void expect_equal(const at::Tensor& a, const at::Tensor& b) {
    EXPECT_LT((a - b).abs().max().item<double>(), 1e-12);
  }

  QFormer qformer{nullptr};
  at::Tensor queries, text, text_mask;
  std::vector<KeyValue> memory;
};

TEST_F(QFormerTest, SeparatePassesEqualOnePassWithTheUnimodalMask) {
  const QFormerOutput joint = pass(queries, text, unimodal_mask(text_mask, kQueries));
  expect_equal(joint.query, pass(queries, {}, {}).query);
  expect_equal(joint.text, pass({}, text, unimodal_mask(text_mask, 0)).text);
}

TEST_F(QFormerTest, CachedGenerationEqualsOnePassWithTheCausalMask) {
  const at::Tensor visible = multimodal_causal_mask(text_mask, kQueries);
  const QFormerOutput joint = pass(queries, text, visible);
  const QFormerOutput image = pass(queries, {}, {});
  const QFormerOutput cached = pass({}, text, visible.narrow(2, kQueries, kLength), &image.self_attention_memory);
  expect_equal(joint.query, image.query);
  expect_equal(joint.text, cached.text);
}

TEST_F(QFormerTest, CausalTextIsUnchangedByLaterText) {
  const at::Tensor visible = multimodal_causal_mask(torch::ones_like(text_mask), kQueries);
  const at::Tensor before = pass(queries, text, visible).text;
  at::Tensor changed = text.clone();
  changed.select(1, 4).copy_(torch::randn({kBatch, 24}, torch::kDouble));
  const at::Tensor after = pass(queries, changed, visible).text;
  expect_equal(before.narrow(1, 0, 4), after.narrow(1, 0, 4));
  EXPECT_GT((before.select(1, 4) - after.select(1, 4)).abs().max().item<double>(), 1e-3);
}

TEST_F(QFormerTest, QueriesReadTheTextOnlyWithTheBidirectionalMask) {
  const at::Tensor other = torch::randn_like(text);
  const auto difference = [&](const at::Tensor& visible) {
    return (pass(queries, text, visible).query - pass(queries, other, visible).query).abs().max().item<double>();
  };
  EXPECT_GT(difference(bidirectional_mask(text_mask, kQueries)), 1e-3);
  EXPECT_EQ(difference(unimodal_mask(text_mask, kQueries)), 0.0);
  EXPECT_EQ(difference(multimodal_causal_mask(text_mask, kQueries)), 0.0);
}

TEST_F(QFormerTest, TextAloneNeverSeesThePicture) {
  const at::Tensor before = pass({}, text, unimodal_mask(text_mask, 0)).text;
  for (auto& layer : memory) layer.value.mul_(3.0);
  expect_equal(before, pass({}, text, unimodal_mask(text_mask, 0)).text);
  EXPECT_EQ(before.requires_grad(), true);
}

TEST_F(QFormerTest, PaddingIsInvisible) {
  const at::Tensor visible = bidirectional_mask(text_mask, kQueries);
  const at::Tensor before = pass(queries, text, visible).query;
  at::Tensor changed = text.clone();
  changed[1].slice(0, 3).fill_(9.0);
  changed[2].slice(0, 1).fill_(-9.0);
  expect_equal(before, pass(queries, changed, visible).query);
}

TEST_F(QFormerTest, CrossAttentionSitsInEveryOtherLayer) {
  EXPECT_EQ(memory.size(), 2U);
  std::vector<std::string> names;
  for (const auto& item : qformer->named_parameters()) names.push_back(item.key());
  EXPECT_THAT(names, testing::Contains("encoder.layer.2.crossattention.attention.key.weight"));
  EXPECT_THAT(names, testing::Not(testing::Contains("encoder.layer.1.crossattention.attention.key.weight")));
}

TEST_F(QFormerTest, TraceHoldsProbabilitiesThatSumToOne) {
  QFormerInput input;
  input.query_embeds = queries;
  input.image_memory = &memory;
  QFormerTrace trace;
  const at::Tensor traced = qformer->forward(input, &trace).query;
  expect_equal(traced, pass(queries, {}, {}).query);
  EXPECT_EQ(trace.hidden_states.size(), 5U);
  ASSERT_EQ(trace.cross_attention.size(), 2U);
  EXPECT_EQ(trace.cross_attention[1].sizes(), (std::vector<std::int64_t>{kBatch, 3, kQueries, 7}));
  expect_equal(trace.cross_attention[1].sum(-1), torch::ones({kBatch, 3, kQueries}, torch::kDouble));
}

TEST_F(QFormerTest, SelectedRowsOfTheMemoryAreOtherPictures) {
  const at::Tensor rows = torch::tensor({2, 0, 0}, torch::kLong);
  const auto selected = select_rows(memory, rows);
  const at::Tensor straight = pass(queries.index_select(0, rows), {}, {}).query;
  memory = selected;
  expect_equal(pass(queries.index_select(0, rows), {}, {}).query.select(0, 0),
               pass(queries.select(0, 2).unsqueeze(0).expand({3, -1, -1}), {}, {}).query.select(0, 0));
  EXPECT_GT((straight - pass(queries.index_select(0, rows), {}, {}).query).abs().max().item<double>(), 1e-6);
}

TEST_F(QFormerTest, QueryFeedForwardStartsAsACopyOfTheText) {
  qformer->copy_text_feed_forward_to_queries();
  const auto parameters = qformer->named_parameters();
  for (const std::string name : {"intermediate{}.dense.weight", "output{}.dense.bias", "output{}.LayerNorm.weight"}) {
    const auto at_brace = name.find("{}");
    const auto key = [&](const std::string& suffix) {
      return "encoder.layer.3." + name.substr(0, at_brace) + suffix + name.substr(at_brace + 2);
    };
    EXPECT_TRUE(torch::equal(parameters[key("")], parameters[key("_query")])) << name;
  }
}

TEST_F(QFormerTest, DropoutActsInTrainingOnly) {
  qformer->train();
  EXPECT_FALSE(torch::equal(pass(queries, {}, {}).query, pass(queries, {}, {}).query));
  qformer->eval();
  EXPECT_TRUE(torch::equal(pass(queries, {}, {}).query, pass(queries, {}, {}).query));
}

TEST(QFormerOptions, NonsenseIsRefusedByName) {
  QFormerOptions options = small_options();
  options.num_attention_heads = 5;
  EXPECT_USER_ERROR(validate(options),
                    "qformer_config: hidden_size 24 must be a positive multiple of num_attention_heads 5");
  options = small_options();
  options.hidden_dropout_prob = 1.5;
  EXPECT_USER_ERROR(validate(options), "dropout probabilities must lie in [0, 1)");
  options = small_options();
  options.max_position_embeddings = -5;
  EXPECT_USER_ERROR(validate(options), "qformer_config: max_position_embeddings -5 must lie between 1 and 16777216");
  options = small_options();
  options.cross_attention_frequency = 0;
  EXPECT_USER_ERROR(validate(options), "qformer_config: cross_attention_frequency 0 must lie between 1 and 16777216");
}

TEST(QFormer, TextWithoutATextFeedForwardIsRefused) {
  QFormerOptions options = small_options();
  options.use_qformer_text_input = false;
  QFormer qformer(options);
  QFormerInput input;
  input.text_embeds = torch::randn({1, 2, 24});
  EXPECT_THROW(qformer->forward(input), c10::Error);
}

TEST(QFormer, PublishedParameterCounts) {
  // Hugging Face 2.2: 105,137,664 without and 161,825,280 with the text feed-forward (BERT-base on ViT-g).
  const auto count = [](bool text_input) {
    QFormerOptions options;
    options.use_qformer_text_input = text_input;
    std::int64_t sum = 0;
    for (const auto& parameter : QFormer(options)->parameters()) sum += parameter.numel();
    return sum;
  };
  EXPECT_EQ(count(false), 105137664);
  EXPECT_EQ(count(true), 161825280);
}

}  // namespace
}  // namespace blip2
