// T5's relative positions (Hugging Face spec 3.6): the distance between key and query as one of a few buckets, exact
// for near keys, logarithmic up to a largest distance.
#pragma once

#include <ATen/core/Tensor.h>

namespace blip2 {

struct RelativePositions {
  std::int64_t buckets = 32;
  std::int64_t max_distance = 128;
  bool bidirectional = true;  // the encoder: half of the buckets for keys behind the query
};

/**
 * Bucket of every pair as int64 [queries, keys] on the CPU; the first query stands at key `past`. Computed in float32
 * in the reference's order, so that distances at the edge of a bucket fall on the same side.
 */
at::Tensor relative_position_buckets(const RelativePositions& positions, std::int64_t queries, std::int64_t keys,
                                     std::int64_t past);

}  // namespace blip2
