#include "programs/run_program.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace blip2 {
namespace {

std::string contents(std::FILE* file) {
  std::string text;
  std::rewind(file);
  char buffer[4096];
  for (std::size_t count = 0; (count = std::fread(buffer, 1, sizeof buffer, file)) > 0;) text.append(buffer, count);
  return text;
}

/** Between fork and exec: only calls that are allowed there. */
void become(const char* program, char* const* arguments, const Surroundings& around, int output, int error) {
  if (!around.output.empty()) output = open(around.output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
  if (output < 0 || dup2(output, STDOUT_FILENO) < 0 || dup2(error, STDERR_FILENO) < 0) _exit(126);
  if (!around.folder.empty() && chdir(around.folder.c_str()) != 0) _exit(126);
  if (around.file_limit > 0) {
    const rlimit limit{static_cast<rlim_t>(around.file_limit), static_cast<rlim_t>(around.file_limit)};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(126);
  }
  execv(program, arguments);
  _exit(127);
}

std::string shown(const Outcome& outcome) {
  return "exit code " + std::to_string(outcome.exit_code) + ", signal " + std::to_string(outcome.signal) +
         "\nstandard output:\n" + outcome.output + "\nstandard error:\n" + outcome.error;
}

}  // namespace

RunningProgram::RunningProgram(const std::string& name, const std::vector<std::string>& arguments,
                               const Surroundings& around)
    : output_(std::tmpfile()), error_(std::tmpfile()) {
  if (!output_ || !error_) throw std::runtime_error("cannot make a temporary file");
  const std::string program = std::string(BLIP2_PROGRAMS) + "/" + name;
  std::vector<char*> words = {const_cast<char*>(program.c_str())};
  for (const auto& argument : arguments) words.push_back(const_cast<char*>(argument.c_str()));
  words.push_back(nullptr);
  setenv("OMP_NUM_THREADS", "1", 1);
  process_ = fork();
  if (process_ < 0) throw std::runtime_error("cannot start '" + program + "'");
  if (process_ == 0) become(program.c_str(), words.data(), around, fileno(output_.get()), fileno(error_.get()));
}

RunningProgram::~RunningProgram() {
  if (!running()) return;
  send(SIGKILL);
  waitpid(process_, &status_, 0);
}

void RunningProgram::send(int signal) const {
  if (!ended_) kill(process_, signal);
}

bool RunningProgram::running() {
  if (!ended_) ended_ = waitpid(process_, &status_, WNOHANG) == process_;
  return !ended_;
}

Outcome RunningProgram::wait() {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(2);
  while (running()) {
    if (std::chrono::steady_clock::now() > deadline) send(SIGKILL);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  Outcome outcome;
  if (WIFEXITED(status_)) outcome.exit_code = WEXITSTATUS(status_);
  if (WIFSIGNALED(status_)) outcome.signal = WTERMSIG(status_);
  outcome.output = contents(output_.get());
  outcome.error = contents(error_.get());
  return outcome;
}

Outcome run(const std::string& name, const std::vector<std::string>& arguments, const Surroundings& around) {
  return RunningProgram(name, arguments, around).wait();
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

testing::AssertionResult succeeded(const Outcome& outcome) {
  if (outcome.exit_code == 0) return testing::AssertionSuccess();
  return testing::AssertionFailure() << shown(outcome);
}

testing::AssertionResult failed_in_the_end(const Outcome& outcome, int exit_code, const std::string& name,
                                           const std::string& part) {
  const auto lines = lines_of(outcome.error);
  int sentences = 0;
  for (const auto& line : lines) sentences += line.starts_with(name + ": ") ? 1 : 0;
  if (outcome.exit_code == exit_code && sentences == 1 && lines.back().starts_with(name + ": ") &&
      lines.back().find(part) != std::string::npos) {
    return testing::AssertionSuccess();
  }
  return testing::AssertionFailure() << "expected exit code " << exit_code << " and one sentence of " << name
                                     << " with '" << part << "', found " << shown(outcome);
}

testing::AssertionResult failed(const Outcome& outcome, int exit_code, const std::string& name,
                                const std::string& part) {
  const auto result = failed_in_the_end(outcome, exit_code, name, part);
  if (!result || lines_of(outcome.error).size() == 1) return result;
  return testing::AssertionFailure() << "expected one line, found " << shown(outcome);
}

}  // namespace blip2
