#include "blip2/train/schedule.h"

#include "blip2/core/config.h"
#include "support/expect_error.h"

namespace blip2 {
namespace {

// The file holds what the schedulers of LAVIS print: scripts/dump_lavis_schedules.py.
TEST(LavisEpochCosine, EqualsTheNumbersOfLavisExactly) {
  int compared = 0;
  for (const auto& run : load_json(BLIP2_TEST_DATA "/train/lavis_lr_schedules.json")) {
    const auto& settings = run["settings"];
    ScheduleOptions options;
    options.schedule = "lavis_epoch_cosine";
    options.learning_rate = settings["init_lr"];
    options.min_learning_rate = settings["min_lr"];
    options.warmup_steps = settings["warmup_steps"];
    options.warmup_learning_rate = settings.value("warmup_start_lr", options.learning_rate);
    for (const auto& row : run["epoch_step_lr"]) {
      EXPECT_EQ(lavis_learning_rate(options, row[0], row[1], settings["max_epoch"]), row[2].get<double>()) << row;
      ++compared;
    }
  }
  EXPECT_EQ(compared, 113);
}

TEST(LavisEpochCosine, IsReachedThroughTheStepOfTheRun) {
  ScheduleOptions options;
  options.schedule = "lavis_epoch_cosine";
  options.warmup_steps = 3;
  EXPECT_EQ(learning_rate_at(options, 2, 12, 4), lavis_learning_rate(options, 0, 2, 3));
  EXPECT_EQ(learning_rate_at(options, 4, 12, 4), 7.75e-5);
  EXPECT_EQ(learning_rate_at(options, 7, 11, 4), 7.75e-5);  // a last epoch that is cut short counts as one
  EXPECT_EQ(learning_rate_at(options, 8, 12, 4), 3.250000000000001e-5);
}

TEST(LinearWarmupCosine, RisesToThePeakAndFallsStepByStep) {
  ScheduleOptions options;
  options.learning_rate = 1.0;
  options.min_learning_rate = 0.2;
  options.warmup_learning_rate = 0.1;
  options.warmup_steps = 3;
  const auto at = [&](std::int64_t step) { return learning_rate_at(options, step, 11, 0); };
  EXPECT_NEAR(at(0), 0.1, 1e-15);
  EXPECT_NEAR(at(1), 0.4, 1e-15);
  EXPECT_NEAR(at(2), 0.7, 1e-15);
  EXPECT_NEAR(at(3), 1.0, 1e-15);
  EXPECT_NEAR(at(5), 0.6 + 0.4 * 0.70710678118654752, 1e-15);
  EXPECT_NEAR(at(7), 0.6, 1e-15);
  EXPECT_NEAR(at(11), 0.2, 1e-15);
  EXPECT_NEAR(at(20), 0.2, 1e-15);
}

TEST(ConstantSchedule, StaysAtThePeakAfterTheWarmup) {
  ScheduleOptions options;
  options.schedule = "constant";
  options.warmup_steps = 2;
  EXPECT_EQ(learning_rate_at(options, 0, 5, 0), 1e-6);
  EXPECT_EQ(learning_rate_at(options, 2, 5, 0), 1e-4);
  EXPECT_EQ(learning_rate_at(options, 4, 5, 0), 1e-4);
}

TEST(Schedule, RefusesUnknownNamesAndNegativeRates) {
  ScheduleOptions options;
  options.schedule = "lavis_cosine";
  EXPECT_USER_ERROR(check_schedule(options), "unknown schedule 'lavis_cosine': did you mean 'lavis_epoch_cosine'?");
  options = {};
  options.decay_rate = 0;
  EXPECT_USER_ERROR(check_schedule(options), "'decay_rate' must be above 0 and at most 1, found 0");
  options = {};
  options.min_learning_rate = -1;
  EXPECT_USER_ERROR(check_schedule(options), "'min_learning_rate' must be a number of 0 or more, found -1");
}

}  // namespace
}  // namespace blip2
