#include "blip2/qformer/attention_mask.h"

#include <torch/torch.h>

namespace blip2 {
namespace {

at::Tensor blocks(const at::Tensor& queries_see_queries, const at::Tensor& queries_see_text,
                  const at::Tensor& text_sees_queries, const at::Tensor& text_sees_text) {
  const at::Tensor top = torch::cat({queries_see_queries, queries_see_text}, 2);
  const at::Tensor bottom = torch::cat({text_sees_queries, text_sees_text}, 2);
  return torch::cat({top, bottom}, 1).unsqueeze(1);
}

struct Blocks {
  at::Tensor all_queries;      // [B, Q, Q] true
  at::Tensor queries_to_text;  // [B, Q, T] the tokens that are no padding
  at::Tensor text_to_queries;  // [B, T, Q] true
  at::Tensor text_to_text;     // [B, T, T] the tokens that are no padding
};

Blocks make_blocks(const at::Tensor& text_mask, std::int64_t num_queries) {
  const std::int64_t batch = text_mask.size(0), length = text_mask.size(1);
  const auto options = text_mask.options().dtype(torch::kBool);
  const at::Tensor tokens = text_mask.ne(0).unsqueeze(1);
  return {torch::ones({batch, num_queries, num_queries}, options), tokens.expand({batch, num_queries, length}),
          torch::ones({batch, length, num_queries}, options), tokens.expand({batch, length, length})};
}

}  // namespace

at::Tensor unimodal_mask(const at::Tensor& text_mask, std::int64_t num_queries) {
  const Blocks b = make_blocks(text_mask, num_queries);
  return blocks(b.all_queries, torch::zeros_like(b.queries_to_text), torch::zeros_like(b.text_to_queries),
                b.text_to_text);
}

at::Tensor bidirectional_mask(const at::Tensor& text_mask, std::int64_t num_queries) {
  const Blocks b = make_blocks(text_mask, num_queries);
  return blocks(b.all_queries, b.queries_to_text, b.text_to_queries, b.text_to_text);
}

at::Tensor multimodal_causal_mask(const at::Tensor& text_mask, std::int64_t num_queries) {
  const Blocks b = make_blocks(text_mask, num_queries);
  return blocks(b.all_queries, torch::zeros_like(b.queries_to_text), b.text_to_queries, b.text_to_text.tril());
}

at::Tensor contrast_and_generation_mask(const at::Tensor& text_mask, std::int64_t num_queries) {
  const Blocks b = make_blocks(text_mask, num_queries);
  const at::Tensor unseen_text = torch::zeros_like(b.queries_to_text), no_text = torch::zeros_like(b.text_to_text);
  const at::Tensor queries = torch::cat({b.all_queries, unseen_text, unseen_text}, 2);
  const at::Tensor text = torch::cat({torch::zeros_like(b.text_to_queries), b.text_to_text, no_text}, 2);
  const at::Tensor generated = torch::cat({b.text_to_queries, no_text, b.text_to_text.tril()}, 2);
  return torch::cat({queries, text, generated}, 1).unsqueeze(1);
}

}  // namespace blip2
