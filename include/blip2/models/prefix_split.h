// Prefix language modelling for FlanT5 (paper section 3.2, LAVIS 4.3, issue 139): the encoder reads the first part of
// the caption behind the picture, the decoder writes the rest. LAVIS never released this.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "blip2/core/random.h"

namespace blip2 {

using TokenIds = std::vector<std::int64_t>;

/**
 * Splits a caption's tokens (no special ones) at a point drawn uniformly from 1 to the middle: {prefix, suffix}. A
 * caption of one token has no inner point and goes to the suffix whole.
 */
std::pair<TokenIds, TokenIds> split_prefix(const TokenIds& caption, Random& random);

}  // namespace blip2
