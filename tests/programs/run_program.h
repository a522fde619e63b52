// Starts one of the programs as a shell would and keeps what it printed and how it ended. What it prints goes to
// nameless files, so nobody has to read while it runs; torch gets one thread, so that runs are comparable and cheap.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

namespace blip2 {

/** How a program ended. */
struct Outcome {
  int exit_code = -1;  // -1: a signal ended it
  int signal = 0;
  std::string output, error;
};

/** What surrounds a program. */
struct Surroundings {
  std::string folder;           // working folder; empty: the test's
  std::string output;           // file for standard output, as after '>'; empty: it is kept
  std::int64_t file_limit = 0;  // largest file it may write, in bytes; 0: any (a stand-in for a full disk)
};

class RunningProgram {
 public:
  /** Starts build/bin/`name`. Throws std::runtime_error. */
  RunningProgram(const std::string& name, const std::vector<std::string>& arguments, const Surroundings& around = {});
  /** Kills what still runs. */
  ~RunningProgram();
  RunningProgram(const RunningProgram&) = delete;
  RunningProgram& operator=(const RunningProgram&) = delete;

  void send(int signal) const;
  /** Whether it has not ended. */
  bool running();
  /** Waits for its end; after two minutes it is killed. */
  Outcome wait();

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  using File = std::unique_ptr<std::FILE, Close>;

  int process_ = -1;
  int status_ = 0;
  bool ended_ = false;
  File output_, error_;
};

/** Starts a program and waits for it. */
Outcome run(const std::string& name, const std::vector<std::string>& arguments, const Surroundings& around = {});

std::vector<std::string> lines_of(const std::string& text);

/** That the program succeeded. */
testing::AssertionResult succeeded(const Outcome& outcome);

/** That it printed exactly `NAME: sentence` with `part` in the sentence and ended with `exit_code`. */
testing::AssertionResult failed(const Outcome& outcome, int exit_code, const std::string& name,
                                const std::string& part);

/** The same where it may have said other things before. */
testing::AssertionResult failed_in_the_end(const Outcome& outcome, int exit_code, const std::string& name,
                                           const std::string& part);

}  // namespace blip2
