#include "blip2/train/run_log.h"

#include <fstream>
#include <limits>
#include <sstream>

#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace blip2 {
namespace {

StepRecord record_of(std::int64_t step) {
  StepRecord record;
  record.step = step;
  record.loss = 0.1f;
  record.parts = {{"itm", 1.0 / 3}, {"itc", 2}};
  record.learning_rate = 1e-4;
  record.grad_norm = 2.5;
  record.samples = 8;
  record.seconds = 0.5;
  record.data_seconds = 0.25;
  return record;
}

std::string text_of(const std::filesystem::path& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

TEST(RunLog, WritesNumbersThatReadBackToTheSameBits) {
  StepRecord record = record_of(3);
  EXPECT_EQ(log_line(record), R"({"step":3,"loss":0.10000000149011612,"losses":{"itm":0.3333333333333333,"itc":2.0},)"
                              R"("learning_rate":0.0001,"grad_norm":2.5,)"
                              R"("timing":{"seconds":0.5,"data_seconds":0.25,"images_per_second":16.0}})");
  record.loss = std::numeric_limits<double>::infinity();
  record.skipped = true;
  record.validation = {{"recall_at_1", 0.5}};
  EXPECT_THAT(log_line(record), ::testing::HasSubstr(R"("loss":null)"));
  EXPECT_THAT(log_line(record), ::testing::HasSubstr(R"("skipped":true,"validation":{"recall_at_1":0.5})"));
}

TEST(RunLog, CutsOffWhatCameAfterTheCheckpoint) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "log.jsonl";
  {
    RunLog log(file, 0);
    for (int step = 1; step <= 5; ++step) log.write(record_of(step));
  }
  std::ofstream(file, std::ios::app) << R"({"step":6,"lo)";  // a kill in the middle of a line
  RunLog log(file, 3);
  log.write(record_of(4));
  std::string expected;
  for (int step = 1; step <= 4; ++step) expected += log_line(record_of(step)) + "\n";
  EXPECT_EQ(text_of(file), expected);
}

TEST(RunLog, CutsOffALineThatWasNotFinished) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "log.jsonl";
  // Complete as JSON, but without the newline the next line would be glued to it.
  std::ofstream(file) << log_line(record_of(1)) << "\n" << log_line(record_of(2));
  const RunLog log(file, 9);
  EXPECT_EQ(text_of(file), log_line(record_of(1)) + "\n");
}

TEST(RunLog, IsFlushedAlsoWhereThereIsNoDisk) {
  const TemporaryFolder folder;
  std::filesystem::create_symlink("/dev/null", folder.path() / "null");
  for (const char* name : {"log.jsonl", "null"}) {
    RunLog log(folder.path() / name, 0);
    log.write(record_of(1));
    EXPECT_NO_THROW(log.flush_to_disk());
  }
  EXPECT_EQ(text_of(folder.path() / "log.jsonl"), log_line(record_of(1)) + "\n");
}

TEST(RunLog, NamesTheFileThatCannotBeOpened) {
  const TemporaryFolder folder;
  EXPECT_WORLD_ERROR(RunLog(folder.path() / "absent" / "log.jsonl", 0), "absent/log.jsonl'");
}

}  // namespace
}  // namespace blip2
