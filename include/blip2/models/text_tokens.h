// Text as the models read it: ids and padding mask as tensors.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "blip2/text/tokenizer.h"

namespace blip2 {

/** Token ids and their padding mask (1 = token), both int64 [B, T]. */
struct TextTokens {
  at::Tensor ids;
  at::Tensor mask;
};

/** Encodes texts into one padded batch. */
TextTokens tokenize(const Tokenizer& tokenizer, const std::vector<std::string>& texts, const BatchOptions& options);

}  // namespace blip2
