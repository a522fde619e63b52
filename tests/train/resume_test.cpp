// Runs that do not end well: killed, interrupted, out of disk. Killed ones are processes of their own, this test
// program started again with the disabled test that trains.
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <thread>

#include "blip2/train/interruption.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "train/toy_run.h"

namespace blip2 {
namespace {

constexpr const char* kChildFolder = "BLIP2_TEST_RUN_FOLDER";

TrainerOptions long_run() {
  auto options = toy_options();
  options.steps = 120;
  options.checkpoint_every = 5;
  options.keep_checkpoints = 2;
  options.validate_every = 16;
  return options;
}

// Not a test: what the child processes do.
TEST(KilledRun, DISABLED_Child) {
  ToyRun run(std::getenv(kChildFolder), long_run());
  run.task.before_batch = [](std::int64_t) { std::this_thread::sleep_for(std::chrono::milliseconds(1)); };
  run.run();
}

pid_t start_child(const std::filesystem::path& folder) {
  setenv(kChildFolder, folder.c_str(), 1);
  std::vector<std::string> words = {"/proc/self/exe", "--gtest_filter=KilledRun.DISABLED_Child",
                                    "--gtest_also_run_disabled_tests"};
  std::vector<char*> arguments;
  for (auto& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t child = 0;
  EXPECT_EQ(posix_spawn(&child, words[0].c_str(), &actions, nullptr, arguments.data(), environ), 0);
  posix_spawn_file_actions_destroy(&actions);
  return child;
}

std::int64_t lines_in(const std::filesystem::path& file) {
  std::ifstream stream(file);
  return std::count(std::istreambuf_iterator<char>(stream), {}, '\n');
}

// Kills the child some time after its log has `lines` lines; false when it had ended before.
bool kill_after(pid_t child, const std::filesystem::path& log, std::int64_t lines, std::int64_t microseconds) {
  while (lines_in(log) < lines && waitpid(child, nullptr, WNOHANG) == 0) {
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  std::this_thread::sleep_for(std::chrono::microseconds(microseconds));
  kill(child, SIGKILL);
  int status = 0;
  return waitpid(child, &status, 0) == child && WIFSIGNALED(status);
}

TEST(KilledRun, EndsLikeAnUndisturbedOneBitForBit) {
  const TemporaryFolder folder;
  ToyRun undisturbed(folder.path() / "undisturbed", long_run());
  undisturbed.run();
  Random random({1});
  for (int round = 0; round < 3; ++round) {
    const auto output = folder.path() / ("killed" + std::to_string(round));
    std::int64_t lines = 3 + random.below(40);
    for (int times = 0; times < 2; ++times) {
      EXPECT_TRUE(kill_after(start_child(output), output / "log.jsonl", lines, random.below(12'000)));
      lines += 20 + random.below(30);
    }
    ToyRun resumed(output, long_run());
    EXPECT_EQ(resumed.run(), TrainResult::kFinished);
    EXPECT_THAT(resumed.said.str(), ::testing::HasSubstr("resuming after step "));
    EXPECT_TRUE(same_run(undisturbed.output, output)) << round;
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(output)) names.push_back(entry.path().filename());
    EXPECT_THAT(names, ::testing::UnorderedElementsAre("checkpoint", "checkpoint-110", "checkpoint-115",
                                                       "checkpoint-120", "log.jsonl"));
  }
}

TEST(InterruptedRun, SavesItselfAfterItsStepAndResumes) {
  const TemporaryFolder folder;
  ToyRun undisturbed(folder.path() / "undisturbed");
  undisturbed.run();
  ToyRun stopped(folder.path() / "stopped");
  stopped.task.before_batch = [](std::int64_t position) {
    if (position == 16) raise(SIGTERM);
  };
  const TrainResult result = stopped.run();
  EXPECT_EQ(result, TrainResult::kInterrupted);
  EXPECT_EQ(exit_code(result), 130);
  EXPECT_EQ(load_run_checkpoint(stopped.output).step, 9);
  EXPECT_THAT(stopped.said.str(),
              ::testing::HasSubstr("stopped after step 9 of 20: run the same command again to resume from '" +
                                   checkpoint_folder(stopped.output).string() + "'"));
  ToyRun resumed(folder.path() / "stopped");
  EXPECT_EQ(resumed.run(), TrainResult::kFinished);
  EXPECT_EQ(exit_code(TrainResult::kFinished), 0);
  EXPECT_TRUE(same_run(undisturbed.output, stopped.output));
}

TEST(Interruption, KillsAtTheSecondSignal) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";  // GTEST_FLAG_SET came with GoogleTest 1.12
  EXPECT_EXIT(
      {
        const Interruption interruption;
        raise(SIGINT);
        if (interruption.requested()) raise(SIGINT);
      },
      ::testing::KilledBySignal(SIGINT), "");
}

// A limit on file sizes refuses writes in the middle, as a full disk does.
class SmallDisk {
 public:
  explicit SmallDisk(rlim_t bytes) : old_handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit limit{bytes, old_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~SmallDisk() {
    setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, old_handler_);
  }

 private:
  rlimit old_{};
  void (*old_handler_)(int);
};

TEST(FullDisk, LeavesTheLastCheckpointComplete) {
  const TemporaryFolder folder;
  ToyRun run(folder.path() / "run");
  std::optional<SmallDisk> disk;
  run.task.before_batch = [&](std::int64_t position) {
    if (position == 14) disk.emplace(5'000);  // the optimizer state is larger, the log is not
  };
  EXPECT_WORLD_ERROR(run.run(), "cannot write '");
  disk.reset();
  EXPECT_EQ(log_of(run.output).size(), 12u);
  EXPECT_EQ(load_run_checkpoint(run.output).step, 6);
  ToyRun resumed(folder.path() / "run");
  EXPECT_EQ(resumed.run(), TrainResult::kFinished);
  ToyRun undisturbed(folder.path() / "undisturbed");
  undisturbed.run();
  EXPECT_TRUE(same_run(run.output, undisturbed.output));
}

TEST(FullDisk, IsNoticedByTheLog) {
  const TemporaryFolder folder;
  std::filesystem::create_symlink("/dev/full", folder.path() / "log.jsonl");
  EXPECT_WORLD_ERROR(ToyRun(folder.path()).run(), "log.jsonl'");
}

TEST(OutputFolder, ThatCannotBeMadeIsNamed) {
  const TemporaryFolder folder;
  std::ofstream(folder.path() / "file") << "x";
  EXPECT_WORLD_ERROR(ToyRun(folder.path() / "file" / "run").run(), "file/run': Not a directory");
}

}  // namespace
}  // namespace blip2
