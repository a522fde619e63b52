#include "blip2/text/tokenizer.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "blip2/core/error.h"

namespace blip2 {

std::string clean_up_spaces(std::string text) {
  using Pair = std::pair<std::string_view, std::string_view>;
  constexpr std::array<Pair, 10> kReplacements = {Pair{" .", "."}, {" ?", "?"},     {" !", "!"},   {" ,", ","},
                                                  {" ' ", "'"},    {" n't", "n't"}, {" 'm", "'m"}, {" 's", "'s"},
                                                  {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : kReplacements) {
    std::size_t start = 0;
    std::string result;
    for (std::size_t at; (at = text.find(from, start)) != std::string::npos; start = at + from.size()) {
      result.append(text, start, at - start).append(to);
    }
    if (start > 0) text = result.append(text, start);
  }
  return text;
}

TokenBatch encode_batch(const Tokenizer& tokenizer, const std::vector<std::string>& texts,
                        const BatchOptions& options) {
  const std::int64_t suffix = options.add_special_tokens ? tokenizer.suffix_length() : 0;
  const std::int64_t special = options.add_special_tokens ? suffix + tokenizer.prefix_length() : 0;
  if (options.max_length < 0 || (options.max_length > 0 && options.max_length < special)) {
    throw UserError("max_length " + std::to_string(options.max_length) + " leaves no room for the " +
                    std::to_string(special) + " special tokens of a text");
  }
  if (options.pad_to_max_length && options.max_length == 0) {
    throw UserError("pad_to_max_length needs a max_length above 0, which rows are padded to");
  }
  std::vector<std::vector<std::int64_t>> rows;
  std::size_t longest = options.pad_to_max_length ? static_cast<std::size_t>(options.max_length) : 0;
  for (const auto& text : texts) {
    auto ids = tokenizer.encode(text, options.add_special_tokens);
    if (options.max_length > 0 && static_cast<std::int64_t>(ids.size()) > options.max_length) {
      ids.erase(ids.begin() + (options.max_length - suffix), ids.end() - suffix);
    }
    longest = std::max(longest, ids.size());
    rows.push_back(std::move(ids));
  }
  TokenBatch batch;
  batch.rows = static_cast<std::int64_t>(rows.size());
  batch.columns = static_cast<std::int64_t>(longest);
  batch.ids.assign(rows.size() * longest, tokenizer.padding_id());
  batch.attention_mask.assign(rows.size() * longest, 0);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::size_t first = i * longest + (options.side == PaddingSide::kLeft ? longest - rows[i].size() : 0);
    std::copy(rows[i].begin(), rows[i].end(), batch.ids.begin() + static_cast<std::ptrdiff_t>(first));
    std::fill_n(batch.attention_mask.begin() + static_cast<std::ptrdiff_t>(first), rows[i].size(), 1);
  }
  return batch;
}

}  // namespace blip2
