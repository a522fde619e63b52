// Ctrl-C (SIGINT) and SIGTERM ask a run to stop after its step and save itself; a second one kills it at once.
#pragma once

#include <csignal>

namespace blip2 {

/** Exit code of a program whose run was interrupted and saved (128 + SIGINT, what a shell expects). */
inline constexpr int kInterruptedExitCode = 130;

/** Catches the two signals as long as it exists; one at a time per process. */
class Interruption {
 public:
  Interruption();
  ~Interruption();
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;

  /** Whether a signal has arrived since construction. */
  bool requested() const;

 private:
  struct sigaction old_interrupt_ = {};
  struct sigaction old_terminate_ = {};
};

}  // namespace blip2
