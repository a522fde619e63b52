#include "blip2/qformer/row_layout.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "blip2/qformer/attention_mask.h"
#include "blip2/qformer/qformer.h"

namespace blip2 {
namespace {

// Two sequences of two queries and three text positions; the second text has one token.
const at::Tensor kMask = torch::tensor({{1, 1, 1}, {1, 0, 0}}, torch::kLong);

at::Tensor numbered(std::int64_t batch, std::int64_t length, double from) {
  return (torch::arange(batch * length, torch::kDouble) + from).view({batch, length, 1});
}

std::vector<double> values(const at::Tensor& x) {
  const at::Tensor flat = x.contiguous().view({-1});
  return {flat.const_data_ptr<double>(), flat.const_data_ptr<double>() + flat.numel()};
}

TEST(RowLayout, PacksQueriesFirstAndLeavesPaddingOut) {
  const RowLayout layout(2, 2, 3, kMask);
  const at::Tensor rows = layout.join(numbered(2, 2, 1), numbered(2, 3, 10));
  EXPECT_EQ(values(rows), (std::vector<double>{1, 2, 3, 4, 10, 11, 12, 13}));
  EXPECT_EQ(values(layout.pad(rows)), (std::vector<double>{1, 2, 10, 11, 12, 3, 4, 13, 0, 0}));
  EXPECT_EQ(values(layout.pack(layout.pad(rows))), values(rows));
  const auto [queries, text] = layout.split(rows);
  EXPECT_EQ(values(queries), (std::vector<double>{1, 2, 3, 4}));
  EXPECT_EQ(values(layout.pad_text(text)), (std::vector<double>{10, 11, 12, 13, 0, 0}));
}

TEST(RowLayout, OneKindAloneAndFullTextsKeepTheirOrder) {
  const at::Tensor text = numbered(2, 3, 10), queries = numbered(2, 2, 1);
  EXPECT_EQ(values(RowLayout(2, 0, 3).pad(RowLayout(2, 0, 3).join({}, text))), values(text));
  EXPECT_EQ(values(RowLayout(2, 2, 0).join(queries, {})), values(queries));
  const RowLayout masked(2, 0, 3, kMask);
  EXPECT_EQ(values(masked.pad(masked.join({}, text))), (std::vector<double>{10, 11, 12, 13, 0, 0}));
  const RowLayout full(2, 2, 3);
  EXPECT_EQ(values(full.pad(full.join(queries, text))), (std::vector<double>{1, 2, 10, 11, 12, 3, 4, 13, 14, 15}));
}

QFormerOptions small_options() {
  QFormerOptions options;
  options.hidden_size = 16;
  options.num_hidden_layers = 3;
  options.num_attention_heads = 2;
  options.intermediate_size = 24;
  options.encoder_hidden_size = 12;
  options.use_qformer_text_input = true;
  return options;
}

TEST(QFormer, RowsOfPaddingChangeNeitherOutputsNorGradients) {
  torch::manual_seed(1);
  QFormer qformer(small_options());
  qformer->to(torch::kDouble);
  qformer->eval();
  const auto memory = qformer->image_memory(torch::randn({2, 5, 12}, torch::kDouble));
  const at::Tensor queries = torch::randn({2, 2, 16}, torch::kDouble).requires_grad_();
  const at::Tensor text = torch::randn({2, 3, 16}, torch::kDouble).requires_grad_();
  const at::Tensor tokens = kMask.unsqueeze(2).to(torch::kDouble);
  std::vector<at::Tensor> outputs, gradients;
  for (const bool packed : {false, true}) {
    QFormerInput input;
    input.query_embeds = queries;
    input.text_embeds = text;
    input.self_mask = additive_mask(bidirectional_mask(kMask, 2), torch::kDouble);
    input.image_memory = &memory;
    if (packed) input.text_mask = kMask;
    const QFormerOutput output = qformer->forward(input);
    outputs.push_back(torch::cat({output.query, output.text * tokens}, 1));
    qformer->zero_grad();
    gradients.push_back(torch::cat(torch::autograd::grad({outputs.back().square().sum()}, {queries, text}), 1));
  }
  EXPECT_TRUE(torch::allclose(outputs[0], outputs[1], 1e-12, 1e-12));
  EXPECT_TRUE(torch::allclose(gradients[0], gradients[1], 1e-12, 1e-12));
}

TEST(QFormer, WithoutTheTextsLastLayerTheQueriesStayTheSame) {
  torch::manual_seed(2);
  QFormer qformer(small_options());
  qformer->eval();
  const auto memory = qformer->image_memory(torch::randn({2, 5, 12}));
  QFormerInput input;
  input.query_embeds = torch::randn({2, 2, 16});
  input.text_embeds = torch::randn({2, 3, 16});
  input.self_mask = additive_mask(bidirectional_mask(kMask, 2).slice(2, 0, 1), torch::kFloat);
  input.image_memory = &memory;
  const QFormerOutput whole = qformer->forward(input);
  input.text_wanted = false;
  const QFormerOutput queries = qformer->forward(input);
  EXPECT_TRUE(torch::allclose(whole.query, queries.query, 1e-5, 1e-6));
  EXPECT_FALSE(queries.text.defined());
}

}  // namespace
}  // namespace blip2
