#include "blip2/models/text_tokens.h"

#include <torch/torch.h>

namespace blip2 {

TextTokens tokenize(const Tokenizer& tokenizer, const std::vector<std::string>& texts, const BatchOptions& options) {
  const TokenBatch batch = encode_batch(tokenizer, texts, options);
  auto tensor = [&](const std::vector<std::int64_t>& values) {
    return torch::tensor(values, torch::kLong).view({batch.rows, batch.columns});
  };
  return {tensor(batch.ids), tensor(batch.attention_mask)};
}

}  // namespace blip2
