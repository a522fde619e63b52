#include "blip2/qformer/row_layout.h"

#include <torch/torch.h>

namespace blip2 {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

at::Tensor gathered(const at::Tensor& x, const at::Tensor& places) {
  return x.index_select(0, places.to(x.device()));  // a layout without a mask does not know where its rows lie
}

at::Tensor scattered(const at::Tensor& x, const at::Tensor& places, std::int64_t count) {
  return at::zeros({count, x.size(1)}, x.options()).index_copy_(0, places.to(x.device()), x);
}

// No place is named twice, so that each is the other's gradient; autograd's own would add up.
class Gather : public torch::autograd::Function<Gather> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& places) {
    context->save_for_backward({places});
    context->saved_data["count"] = x.size(0);
    return gathered(x, places);
  }
  static tensor_list backward(AutogradContext* context, const tensor_list& gradients) {
    const at::Tensor places = context->get_saved_variables()[0];
    return {scattered(gradients[0], places, context->saved_data["count"].toInt()), at::Tensor()};
  }
};

class Scatter : public torch::autograd::Function<Scatter> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& places,
                            std::int64_t count) {
    context->save_for_backward({places});
    return scattered(x, places, count);
  }
  static tensor_list backward(AutogradContext* context, const tensor_list& gradients) {
    return {gathered(gradients[0], context->get_saved_variables()[0]), at::Tensor(), at::Tensor()};
  }
};

at::Tensor rows_of(const at::Tensor& x) {
  return x.reshape({-1, x.size(-1)});
}

}  // namespace

RowLayout::RowLayout(std::int64_t batch, std::int64_t queries, std::int64_t text, const at::Tensor& text_mask)
    : batch_(batch), queries_(queries), text_(text) {
  if (text == 0) return;
  const torch::NoGradGuard no_grad;
  if (text_mask.defined()) text_places_ = text_mask.reshape({-1}).nonzero().squeeze(1);
  if (queries == 0) {
    places_ = text_places_;
    return;
  }
  const std::int64_t length = queries + text;
  const auto options =
      torch::TensorOptions(torch::kLong).device(text_mask.defined() ? text_mask.device() : torch::kCPU);
  const at::Tensor all = torch::arange(batch * length, options).view({batch, length});
  at::Tensor text_rows = all.narrow(1, queries, text).reshape({-1});
  if (text_places_.defined()) text_rows = text_rows.index_select(0, text_places_);
  places_ = torch::cat({all.narrow(1, 0, queries).reshape({-1}), text_rows});
}

at::Tensor RowLayout::join(const at::Tensor& queries, const at::Tensor& text) const {
  at::Tensor text_rows;
  if (text_ > 0) {
    text_rows = rows_of(text);
    if (text_places_.defined()) text_rows = Gather::apply(text_rows, text_places_);
  }
  if (queries_ == 0) return text_rows;
  return text_rows.defined() ? torch::cat({rows_of(queries), text_rows}) : rows_of(queries);
}

std::pair<at::Tensor, at::Tensor> RowLayout::split(const at::Tensor& rows) const {
  if (text_ == 0) return {rows, {}};
  if (queries_ == 0) return {{}, rows};
  // A split, whose gradient is one concatenation, where two slices would each fill a tensor of the whole size.
  const auto parts = rows.split_with_sizes({batch_ * queries_, rows.size(0) - batch_ * queries_}, 0);
  return {parts[0], parts[1]};
}

at::Tensor RowLayout::pad_text(const at::Tensor& text_rows) const {
  const at::Tensor all = text_places_.defined() ? Scatter::apply(text_rows, text_places_, batch_ * text_) : text_rows;
  return all.view({batch_, text_, text_rows.size(1)});
}

at::Tensor RowLayout::pad(const at::Tensor& rows) const {
  const std::int64_t length = queries_ + text_;
  const at::Tensor all = places_.defined() ? Scatter::apply(rows, places_, batch_ * length) : rows;
  return all.view({batch_, length, rows.size(1)});
}

at::Tensor RowLayout::pack(const at::Tensor& padded) const {
  const at::Tensor all = rows_of(padded);
  return places_.defined() ? Gather::apply(all, places_) : all;
}

}  // namespace blip2
