#include "blip2/train/loss_scale.h"

#include <gmock/gmock.h>

#include <csignal>

#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "train/toy_run.h"

namespace blip2 {
namespace {

TEST(LossScale, GrowsAfterManyStepsAndShrinksAtOnce) {
  LossScale scale(true);
  EXPECT_EQ(scale.value(), 65536.0);
  for (int i = 0; i < 1999; ++i) scale.grow();
  EXPECT_EQ(scale.value(), 65536.0);
  scale.grow();
  EXPECT_EQ(scale.value(), 131072.0);
  for (int i = 0; i < 1500; ++i) scale.grow();
  scale.shrink();
  EXPECT_EQ(scale.value(), 65536.0);
  EXPECT_EQ(scale.steps_without_overflow(), 0);
  for (int i = 0; i < 20; ++i) scale.shrink();
  EXPECT_EQ(scale.value(), 1.0);
  EXPECT_FALSE(scale.can_shrink());
  scale.restore(8, 1999);
  scale.grow();
  EXPECT_EQ(scale.value(), 16.0);
}

TEST(LossScale, IsOneInOtherPrecisions) {
  LossScale scale(false);
  for (int i = 0; i < 5000; ++i) scale.grow();
  scale.restore(4, 3);
  EXPECT_EQ(scale.value(), 1.0);
  EXPECT_FALSE(scale.can_shrink());
}

TrainerOptions half_options(const std::string& precision) {
  TrainerOptions options = toy_options();
  options.precision = precision;
  return options;
}

TEST(HalfPrecision, LearnsWithFloat32Weights) {
  for (const std::string precision : {"bfloat16", "float16"}) {
    const TemporaryFolder folder;
    auto options = half_options(precision);
    options.steps = 300;
    ToyRun run(folder.path() / "run", options);
    run.run();
    EXPECT_EQ(run.task.model->hidden->weight.scalar_type(), at::kFloat);
    const auto log = log_of(run.output);
    EXPECT_GT(log[0]["loss"].get<double>(), 4 * log[299]["loss"].get<double>()) << precision;
    EXPECT_EQ(log[299].contains("loss_scale"), precision == "float16");
  }
}

TEST(HalfPrecision, AnOverflowIsSkippedAndHalvesTheScaleWithoutBeingTrouble) {
  const TemporaryFolder folder;
  auto options = half_options("float16");
  options.max_skipped_steps = 1;  // an overflow is no reason to end the run
  ToyRun run(folder.path() / "run", options);
  // What float16 holds ends at 65504: the gradient overflows as long as the scale is too large.
  run.task.overflows_from_scale = 16384.0;
  run.run();
  const auto log = log_of(run.output);
  EXPECT_EQ(log[0]["loss_scale"], 65536.0);
  EXPECT_EQ(log[0]["skipped"], true);
  EXPECT_EQ(log[2]["loss_scale"], 16384.0);
  EXPECT_EQ(log[2]["skipped"], true);
  EXPECT_EQ(log[3]["loss_scale"], 8192.0);
  EXPECT_FALSE(log[3].contains("skipped"));
  EXPECT_TRUE(log[0]["loss"].is_number());
  const RunState state = load_run_checkpoint(run.output);
  EXPECT_EQ(state.loss_scale, 8192.0);
  EXPECT_EQ(state.steps_without_overflow, 17);
  EXPECT_EQ(state.skipped, 0);
  EXPECT_THAT(run.said.str(), ::testing::Not(::testing::HasSubstr("steps were skipped")));
  EXPECT_EQ(state.optimizer.at("hidden.weight.step").item<float>(), 17.0f);
  EXPECT_FALSE(std::filesystem::exists(run.output / "skipped"));
}

TEST(HalfPrecision, AnOverflowBehindABrokenLossIsNoTroubleEither) {
  const TemporaryFolder folder;
  auto options = half_options("float16");
  options.max_skipped_steps = 3;
  ToyRun run(folder.path() / "run", options);
  run.task.is_broken = [](std::int64_t step) { return step == 0 || step == 4; };
  run.task.overflows_from_scale = 1024.0;  // steps 2 to 4 and 6 to 7 overflow
  run.run();
  EXPECT_EQ(load_run_checkpoint(run.output).skipped, 2);
  EXPECT_THAT(run.said.str(), ::testing::HasSubstr("2 of 20 steps were skipped"));
  EXPECT_TRUE(std::filesystem::exists(run.output / "skipped/step-1-0.safetensors"));
  EXPECT_FALSE(std::filesystem::exists(run.output / "skipped/step-2-0.safetensors"));
  ToyRun broken(folder.path() / "broken", options);
  broken.task.is_broken = [](std::int64_t step) { return step != 1; };
  broken.task.overflows_from_scale = 16384.0;
  EXPECT_USER_ERROR(broken.run(), "skipped/step-1*.safetensors'");  // the row's first, overflows in between or not
}

TEST(HalfPrecision, GradientsThatNoScaleCuresEndTheRun) {
  const TemporaryFolder folder;
  auto options = half_options("float16");
  options.max_skipped_steps = 2;
  ToyRun run(folder.path() / "run", options);
  run.task.overflows_from_scale = 0.5;
  EXPECT_USER_ERROR(run.run(), "a loss or gradient was not finite in 2 steps in a row, the last of them step 18: ");
  EXPECT_TRUE(std::filesystem::exists(run.output / "skipped/step-17-0.safetensors"));
}

TEST(HalfPrecision, ResumesBitForBit) {
  const TemporaryFolder folder;
  for (const std::string precision : {"bfloat16", "float16"}) {
    ToyRun whole(folder.path() / (precision + "-whole"), half_options(precision));
    whole.run();
    ToyRun first(folder.path() / (precision + "-parts"), half_options(precision));
    first.task.before_batch = [](std::int64_t position) {
      if (position == 20) std::raise(SIGTERM);
    };
    EXPECT_EQ(first.run(), TrainResult::kInterrupted);
    ToyRun second(first.output, half_options(precision));
    second.run();
    EXPECT_TRUE(same_run(whole.output, second.output)) << precision;
  }
}

}  // namespace
}  // namespace blip2
