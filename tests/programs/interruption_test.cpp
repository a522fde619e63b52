// What the world does to a run: signals at any moment, a full disk, folders that cannot be written. Nothing is lost,
// and a resumed run ends with the bytes of one that was left alone.
#include <gmock/gmock.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <thread>

#include "programs/tiny_world.h"

namespace blip2 {
namespace {

using nlohmann::json;
using testing::Each;
using testing::HasSubstr;
using testing::Not;

TinyWorld& world() {
  return TinyWorld::instance();
}

/** Long enough to be hit, with checkpoints often enough to be hit while one is written. */
json long_config() {
  world().vocabulary();
  json config = world().stage1_config();
  config["train"]["steps"] = 80;
  config["train"]["checkpoint_every"] = 3;
  config["train"]["keep_checkpoints"] = 1;
  return config;
}

/** The run that nobody disturbed. */
std::string undisturbed() {
  const std::string output = world().file("undisturbed");
  if (!std::filesystem::exists(output)) {
    EXPECT_TRUE(succeeded(run("train_stage1", world().arguments(long_config(), output))));
  }
  return output;
}

void expect_same_end(const std::string& output) {
  EXPECT_TRUE(read_bytes(output + "/checkpoint/model.safetensors") ==
              read_bytes(undisturbed() + "/checkpoint/model.safetensors"));
  EXPECT_TRUE(read_bytes(output + "/checkpoint/train_state.safetensors") ==
              read_bytes(undisturbed() + "/checkpoint/train_state.safetensors"));
  EXPECT_EQ(timeless_log(output), timeless_log(undisturbed()));
  EXPECT_THAT(files_below(output), Each(Not(HasSubstr(".partial-"))));
  EXPECT_THAT(files_below(output), Each(Not(HasSubstr(".previous"))));
}

std::string new_folder(const std::string& name) {
  std::filesystem::remove_all(world().file(name));
  return world().file(name);
}

/** Waits until the log has so many whole lines. */
void wait_for_lines(const std::string& output, std::size_t lines, RunningProgram& program) {
  for (std::size_t seen = 0; seen < lines && program.running();) {
    if (std::filesystem::exists(output + "/log.jsonl")) {
      const std::string log = read_bytes(output + "/log.jsonl");
      seen = static_cast<std::size_t>(std::count(log.begin(), log.end(), '\n'));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

TEST(ProgramInterruption, KilledTwiceAtRandomMomentsARunEndsWithTheSameBytes) {
  const auto seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const std::string output = new_folder("killed");
  for (const std::size_t line : {2 + random() % 12, 16 + random() % 12}) {
    RunningProgram program("train_stage1", world().arguments(long_config(), output));
    wait_for_lines(output, line, program);
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 20000));
    program.send(SIGKILL);
    const Outcome outcome = program.wait();
    ASSERT_EQ(outcome.signal, SIGKILL) << outcome.error;
  }
  ASSERT_TRUE(succeeded(run("train_stage1", world().arguments(long_config(), output))));
  expect_same_end(output);
}

TEST(ProgramInterruption, CtrlCSavesTheRunAndTheSameCommandGoesOn) {
  const std::string output = new_folder("interrupted");
  for (const int signal : {SIGINT, SIGTERM}) {
    json config = long_config();
    config["train"]["checkpoint_every"] = 0;  // the checkpoint is the signal's
    RunningProgram program("train_stage1", world().arguments(config, output));
    wait_for_lines(output, signal == SIGINT ? 3 : 20, program);
    program.send(signal);
    const Outcome outcome = program.wait();
    ASSERT_EQ(outcome.exit_code, 130) << outcome.error;
    EXPECT_THAT(outcome.error, HasSubstr("run the same command again to resume"));
    const auto log = timeless_log(output);
    EXPECT_LT(log.size(), 80u);
    EXPECT_THAT(outcome.error, HasSubstr("stopped after step " + std::to_string(log.size()) + " of 80"));
  }
  ASSERT_TRUE(succeeded(run("train_stage1", world().arguments(long_config(), output))));
  expect_same_end(output);
}

TEST(ProgramInterruption, AFullDiskCostsOnlyTheStepsSinceTheLastCheckpoint) {
  const std::string output = new_folder("full_disk");
  {
    RunningProgram program("train_stage1", world().arguments(long_config(), output));
    wait_for_lines(output, 5, program);
    program.send(SIGINT);
    ASSERT_EQ(program.wait().exit_code, 130);
  }
  const std::string model = read_bytes(output + "/checkpoint/model.safetensors");
  Surroundings full;
  full.file_limit = static_cast<std::int64_t>(model.size()) / 2;
  const Outcome refused = run("train_stage1", world().arguments(long_config(), output), full);
  EXPECT_TRUE(failed_in_the_end(refused, 1, "train_stage1", "cannot write '" + output));
  EXPECT_TRUE(read_bytes(output + "/checkpoint/model.safetensors") == model);
  ASSERT_TRUE(succeeded(run("train_stage1", world().arguments(long_config(), output))));
  expect_same_end(output);
}

TEST(ProgramInterruption, AnOutputFolderThatCannotBeMadeIsTheWorldsFault) {
  world().vocabulary();
  const std::string below = world().file("captions.txt") + "/run";
  EXPECT_TRUE(failed(run("train_stage1", world().arguments(world().stage1_config(), below)), 1, "train_stage1", below));
  const std::string captions = read_bytes(world().file("captions.txt"));
  EXPECT_TRUE(failed(run("train_stage1", world().arguments(world().stage1_config(), world().file("captions.txt"))), 1,
                     "train_stage1", "captions.txt"));
  EXPECT_EQ(read_bytes(world().file("captions.txt")), captions);
  EXPECT_TRUE(failed(run("train_language_model", world().arguments(world().language_model_config(), "/proc/none/run")),
                     1, "train_language_model", "/proc/none/run"));
  EXPECT_TRUE(failed(run("train_stage2", world().arguments(world().stage2_config(), below)), 1, "train_stage2", below));
  EXPECT_TRUE(failed(run("build_vocabulary", {"--text", world().file("captions.txt"), "--output", "/proc/none"}), 1,
                     "build_vocabulary", "/proc/none"));
}

TEST(ProgramInterruption, WhatCannotBePrintedIsAFailure) {
  Surroundings full;
  full.output = "/dev/full";
  const std::vector<std::string> arguments = {"--model", world().stage2(), world().picture(0)};
  EXPECT_TRUE(failed(run("caption", arguments, full), 1, "caption", "standard output"));
}

}  // namespace
}  // namespace blip2
