// Rows of a batch without its padding. Linear layers, norms and activations work on rows alone, and captions of a batch
// differ in length: what is computed for padding is thrown away. So a pass keeps its rows packed, all queries first and
// then the tokens of all texts, and lays them out as [B, queries + text] only where rows meet, in attention.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>

namespace blip2 {

class RowLayout {
 public:
  /** B sequences of `queries` queries and `text` tokens, of which those count that `text_mask` [B, text] has (or all).
   */
  RowLayout(std::int64_t batch, std::int64_t queries, std::int64_t text, const at::Tensor& text_mask = {});

  /** The same sequences with their queries alone. */
  RowLayout without_text() const { return {batch_, queries_, 0}; }

  /** Embeddings [B, queries, H] and [B, text, H], either may be undefined -> packed rows [N, H]. */
  at::Tensor join(const at::Tensor& queries, const at::Tensor& text) const;
  /** Packed rows -> the queries' [B * queries, H] and the text's [N - B * queries, H]; undefined where there are none.
   */
  std::pair<at::Tensor, at::Tensor> split(const at::Tensor& rows) const;
  /** The text's rows -> [B, text, H], zeros in place of padding. */
  at::Tensor pad_text(const at::Tensor& text_rows) const;

  /** Packed rows [N, W] -> [B, queries + text, W], zeros in place of padding. */
  at::Tensor pad(const at::Tensor& rows) const;
  /** [B, queries + text, W] -> packed rows [N, W]. */
  at::Tensor pack(const at::Tensor& padded) const;

 private:
  std::int64_t batch_, queries_, text_;
  at::Tensor text_places_;  // int64, of the text's rows in [B * text]; undefined: all
  at::Tensor places_;       // int64 [N], of all rows in [B * (queries + text)]; undefined: in that order
};

}  // namespace blip2
