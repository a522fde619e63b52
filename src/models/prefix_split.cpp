#include "blip2/models/prefix_split.h"

#include <algorithm>

namespace blip2 {

std::pair<TokenIds, TokenIds> split_prefix(const TokenIds& caption, Random& random) {
  if (caption.size() < 2) return {{}, caption};
  const auto middle = static_cast<std::int64_t>(caption.size() / 2);
  const auto point = caption.begin() + 1 + random.below(std::max<std::int64_t>(middle, 1));
  return {TokenIds(caption.begin(), point), TokenIds(point, caption.end())};
}

}  // namespace blip2
