#include "blip2/train/loss_scale.h"

#include <algorithm>

namespace blip2 {
namespace {

constexpr std::int64_t kStepsToGrow = 2000;
constexpr double kFactor = 2.0;

}  // namespace

void LossScale::grow() {
  if (!on_ || ++steps_ < kStepsToGrow) return;
  value_ *= kFactor;
  steps_ = 0;
}

void LossScale::shrink() {
  value_ = std::max(1.0, value_ / kFactor);
  steps_ = 0;
}

void LossScale::restore(double value, std::int64_t steps_without_overflow) {
  if (!on_) return;
  value_ = value;
  steps_ = steps_without_overflow;
}

}  // namespace blip2
