// The two errors that a user of the library or of a program can meet: a mistake of theirs (a wrong config, file or
// argument) and a failure of the world (a full disk, a lost folder). Tensor shapes inside the library are checked with
// TORCH_CHECK instead. Every message is one sentence: what was expected, what was found, where, what to do.
#pragma once

#include <functional>
#include <stdexcept>
#include <string>

namespace blip2 {

/** Base of both errors; carries the exit code that a program ends with. */
class Error : public std::runtime_error {
 public:
  Error(const std::string& message, int exit_code) : std::runtime_error(message), exit_code_(exit_code) {}

  int exit_code() const { return exit_code_; }

 private:
  int exit_code_;
};

/** The user's mistake: exit code 2. */
class UserError : public Error {
 public:
  explicit UserError(const std::string& message) : Error(message, 2) {}
};

/** The world's failure (disk, permission, memory): exit code 1. */
class WorldError : public Error {
 public:
  explicit WorldError(const std::string& message) : Error(message, 1) {}
};

/**
 * Runs the body of a program and turns whatever it throws into one line on standard error, `NAME: sentence`, and an
 * exit code: 2 for UserError, 1 for everything else, also where standard output refuses what was printed. Torch's stack
 * traces are cut off. Returns the body's own code when nothing is thrown. SIGXFSZ is ignored from then on, so that a
 * file over the limit is a failed write.
 */
int run_program(const std::string& name, const std::function<int()>& body);

}  // namespace blip2
