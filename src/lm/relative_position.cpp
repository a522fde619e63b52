#include "lm/relative_position.h"

#include <torch/torch.h>

#include <cmath>

namespace blip2 {

at::Tensor relative_position_buckets(const RelativePositions& positions, std::int64_t queries, std::int64_t keys,
                                     std::int64_t past) {
  const at::Tensor relative =
      at::arange(keys, at::kLong).unsqueeze(0) - at::arange(past, past + queries, at::kLong).unsqueeze(1);
  const std::int64_t buckets = positions.bidirectional ? positions.buckets / 2 : positions.buckets;
  const std::int64_t exact = buckets / 2;
  const at::Tensor distance = positions.bidirectional ? relative.abs() : (-relative).clamp_min(0);
  const double log_range = std::log(static_cast<double>(positions.max_distance) / static_cast<double>(exact));
  // The clamp keeps the logarithm finite where the exact bucket is taken anyway.
  const at::Tensor far = ((distance.clamp_min(1).to(at::kFloat) / static_cast<double>(exact)).log() / log_range *
                          static_cast<double>(buckets - exact))
                             .to(at::kLong) +
                         exact;
  at::Tensor bucket = at::where(distance < exact, distance, far.clamp_max(buckets - 1));
  if (positions.bidirectional) bucket = bucket + relative.gt(0) * buckets;
  return bucket;
}

}  // namespace blip2
