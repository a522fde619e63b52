#include "blip2/train/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <sstream>

namespace blip2 {
namespace {

StepRecord record_of(std::int64_t step) {
  StepRecord record;
  record.step = step;
  record.loss = 4.21349;
  record.parts = {{"itc", 1.2041}, {"itm", 0.61}};
  record.learning_rate = 1e-4;
  record.samples = 20;
  record.seconds = 0.5;
  return record;
}

TEST(DurationText, ShowsTheTwoLargestUnits) {
  EXPECT_EQ(duration_text(0.4), "0s");
  EXPECT_EQ(duration_text(59.4), "59s");
  EXPECT_EQ(duration_text(187), "3m07s");
  EXPECT_EQ(duration_text(3725), "1h02m");
  EXPECT_EQ(duration_text(183600), "2d03h");
  EXPECT_EQ(duration_text(INFINITY), "?");
}

TEST(ProgressText, DropsWhatMattersLeastUntilItFits) {
  const auto text = [](std::int64_t width) { return progress_text(record_of(120), 1000, 41.26, 187, width); };
  const std::string full = "step 120/1000 | loss 4.213 | itc 1.204 itm 0.61 | lr 1.00e-04 | 41.3 images/s | 3m07s left";
  EXPECT_EQ(text(0), full);
  EXPECT_EQ(text(static_cast<std::int64_t>(full.size())), full);
  EXPECT_EQ(text(static_cast<std::int64_t>(full.size()) - 1),
            "step 120/1000 | loss 4.213 | lr 1.00e-04 | 41.3 images/s | 3m07s left");
  EXPECT_EQ(text(60), "step 120/1000 | loss 4.213 | lr 1.00e-04 | 3m07s left");
  EXPECT_EQ(text(45), "step 120/1000 | loss 4.213 | 3m07s left");
  EXPECT_EQ(text(30), "step 120/1000 | 3m07s left");
  EXPECT_EQ(text(15), "step 120/1000");
  EXPECT_EQ(text(6), "step 1");
}

TEST(ProgressText, SaysWhenAStepWasSkipped) {
  auto record = record_of(1);
  record.loss = NAN;
  record.skipped = true;
  EXPECT_THAT(progress_text(record, 10, 1, 1, 0), ::testing::HasSubstr("loss nan (step skipped)"));
}

TEST(Progress, WritesPlainLinesNowAndThenWhereThereIsNoTerminal) {
  std::ostringstream stream;
  {
    Progress progress(stream, /*log_every=*/2, /*width=*/0);
    for (int step = 1; step <= 5; ++step) progress.show(record_of(step), 5);
    progress.say("saved");
  }
  EXPECT_EQ(stream.str(),
            "step 2/5 | loss 4.213 | itc 1.204 itm 0.61 | lr 1.00e-04 | 40.0 images/s | 2s left\n"
            "step 4/5 | loss 4.213 | itc 1.204 itm 0.61 | lr 1.00e-04 | 40.0 images/s | 1s left\n"
            "step 5/5 | loss 4.213 | itc 1.204 itm 0.61 | lr 1.00e-04 | 40.0 images/s | 0s left\n"
            "saved\n");
}

TEST(Progress, RedrawsOneLineOnATerminalAndEndsItBeforeASentence) {
  std::ostringstream stream;
  {
    Progress progress(stream, /*log_every=*/1, /*width=*/32);
    progress.show(record_of(1), 5);
    progress.show(record_of(2), 5);  // too soon to draw again
    progress.say("saved");
    progress.show(record_of(5), 5);
  }
  EXPECT_EQ(stream.str(), "\rstep 1/5 | loss 4.213 | 2s left\x1b[K\nsaved\n\rstep 5/5 | loss 4.213 | 0s left\x1b[K\n");
}

}  // namespace
}  // namespace blip2
