// Loss scaling for float16 (Micikevicius et al. 2018): small gradients vanish in float16, so that losses are multiplied
// by a large number before the backward pass and gradients divided by it after. Where a gradient overflows the step is
// skipped and the scale halved; after many steps without overflow it is doubled. The numbers are those of PyTorch's
// GradScaler, which LAVIS trains with.
#pragma once

#include <cstdint>

namespace blip2 {

class LossScale {
 public:
  /** The first scale is 65536; 1 for ever where `on` is false. */
  explicit LossScale(bool on) : on_(on), value_(on ? 65536.0 : 1.0) {}

  double value() const { return value_; }
  std::int64_t steps_without_overflow() const { return steps_; }

  /** Whether a gradient that is not finite may be the scale's fault, so that a smaller one may help. */
  bool can_shrink() const { return on_ && value_ > 1.0; }

  /** After a step that was taken: doubles the scale every 2000 in a row. */
  void grow();
  /** After a step whose gradients overflowed: halves the scale, to 1 at least. */
  void shrink();
  /** Goes on where another run stood. */
  void restore(double value, std::int64_t steps_without_overflow);

 private:
  bool on_;
  double value_;
  std::int64_t steps_ = 0;
};

}  // namespace blip2
