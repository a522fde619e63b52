#include "blip2/train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "blip2/core/config.h"
#include "blip2/core/error.h"

namespace blip2 {
namespace {

const std::vector<std::string>& known_schedules() {
  static const std::vector<std::string> names = {"linear_warmup_cosine", "constant", "lavis_epoch_cosine",
                                                 "lavis_epoch_step"};
  return names;
}

double warmup(const ScheduleOptions& options, std::int64_t step) {
  const double length = static_cast<double>(std::max<std::int64_t>(options.warmup_steps, 1));
  const double rise = options.learning_rate - options.warmup_learning_rate;
  return std::min(options.learning_rate, options.warmup_learning_rate + rise * static_cast<double>(step) / length);
}

// `done` and `all` stay apart because pi * done / all is the order in which LAVIS rounds.
double cosine(const ScheduleOptions& options, std::int64_t done, std::int64_t all) {
  const double angle = std::numbers::pi * static_cast<double>(done) / static_cast<double>(all);
  const double height = options.learning_rate - options.min_learning_rate;
  return height * 0.5 * (1.0 + std::cos(angle)) + options.min_learning_rate;
}

}  // namespace

void visit_fields(FieldVisitor& visitor, ScheduleOptions& options) {
  visitor.field("schedule", options.schedule);
  visitor.field("learning_rate", options.learning_rate);
  visitor.field("min_learning_rate", options.min_learning_rate);
  visitor.field("warmup_learning_rate", options.warmup_learning_rate);
  visitor.field("warmup_steps", options.warmup_steps);
  visitor.field("decay_rate", options.decay_rate);
}

void check_schedule(const ScheduleOptions& options) {
  const auto& known = known_schedules();
  if (std::find(known.begin(), known.end(), options.schedule) == known.end()) {
    const auto nearest = nearest_name(options.schedule, known);
    throw UserError("unknown schedule '" + options.schedule + "': did you mean '" +
                    (nearest.empty() ? known.front() : nearest) + "'?");
  }
  const auto check = [](const char* name, double value) {
    if (value >= 0 && std::isfinite(value)) return;
    throw UserError("'" + std::string(name) + "' must be a number of 0 or more, found " + std::to_string(value));
  };
  check("learning_rate", options.learning_rate);
  check("min_learning_rate", options.min_learning_rate);
  check("warmup_learning_rate", options.warmup_learning_rate);
  check("warmup_steps", static_cast<double>(options.warmup_steps));
  if (options.decay_rate > 0 && options.decay_rate <= 1) return;
  throw UserError("'decay_rate' must be above 0 and at most 1, found " + std::to_string(options.decay_rate));
}

bool needs_epochs(const ScheduleOptions& options) {
  return options.schedule == "lavis_epoch_cosine" || options.schedule == "lavis_epoch_step";
}

double lavis_learning_rate(const ScheduleOptions& options, std::int64_t epoch, std::int64_t step_in_epoch,
                           std::int64_t epochs) {
  if (epoch == 0) return warmup(options, step_in_epoch);
  if (options.schedule == "constant") return options.learning_rate;
  if (options.schedule == "lavis_epoch_cosine") return cosine(options, epoch, epochs);
  const double decayed = options.learning_rate * std::pow(options.decay_rate, static_cast<double>(epoch));
  return std::max(options.min_learning_rate, decayed);
}

double learning_rate_at(const ScheduleOptions& options, std::int64_t step, std::int64_t total_steps,
                        std::int64_t steps_per_epoch) {
  if (needs_epochs(options)) {
    const std::int64_t epochs = (total_steps + steps_per_epoch - 1) / steps_per_epoch;
    return lavis_learning_rate(options, step / steps_per_epoch, step % steps_per_epoch, epochs);
  }
  if (step < options.warmup_steps) return warmup(options, step);
  if (options.schedule == "constant") return options.learning_rate;
  const std::int64_t all = std::max<std::int64_t>(total_steps - options.warmup_steps, 1);
  return cosine(options, std::min(step - options.warmup_steps, all), all);
}

}  // namespace blip2
