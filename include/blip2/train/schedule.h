// Learning rate as a pure function of the step. The default warms up linearly and then follows half a cosine, step by
// step, to the end of training. LAVIS's schedules instead keep the rate constant within an epoch and end the warm-up
// with the first epoch even if unfinished (lavis spec 7.1 and 13, number 2); they are here for parity.
#pragma once

#include <cstdint>
#include <string>

#include "blip2/core/field_visitor.h"

namespace blip2 {

struct ScheduleOptions {
  /** `linear_warmup_cosine`, `constant` (after the same warm-up), `lavis_epoch_cosine` or `lavis_epoch_step`. */
  std::string schedule = "linear_warmup_cosine";
  /** Peak rate. */
  double learning_rate = 1e-4;
  /** Rate at the end. */
  double min_learning_rate = 1e-5;
  /** Rate of step 0 where there is a warm-up. */
  double warmup_learning_rate = 1e-6;
  std::int64_t warmup_steps = 0;
  /** Factor from epoch to epoch of `lavis_epoch_step`, down to min_learning_rate. */
  double decay_rate = 1.0;
};

void visit_fields(FieldVisitor& visitor, ScheduleOptions& options);

/** Throws UserError naming the field when the schedule is unknown or a number is out of range. */
void check_schedule(const ScheduleOptions& options);

/** Whether the rate depends on epochs, which some data does not have. */
bool needs_epochs(const ScheduleOptions& options);

/**
 * The rate of optimizer step `step` (0-based) of `total_steps`. `steps_per_epoch` > 0 matters to LAVIS's schedules
 * only, which then take the number of epochs as total_steps / steps_per_epoch, rounded up.
 */
double learning_rate_at(const ScheduleOptions& options, std::int64_t step, std::int64_t total_steps,
                        std::int64_t steps_per_epoch);

/**
 * What LAVIS's linear_warmup_cosine_lr (`lavis_epoch_cosine`), linear_warmup_step_lr (`lavis_epoch_step`) and
 * constant_lr
 * (`constant`) set for a step of an epoch (both 0-based), to the last bit of the Python (lavis 7.1).
 */
double lavis_learning_rate(const ScheduleOptions& options, std::int64_t epoch, std::int64_t step_in_epoch,
                           std::int64_t epochs);

}  // namespace blip2
