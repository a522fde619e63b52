#include "blip2/train/interruption.h"

namespace blip2 {
namespace {

volatile std::sig_atomic_t signal_seen = 0;

void remember_signal(int) {
  signal_seen = 1;
  // The user who presses Ctrl-C again does not want to wait for the step.
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
}

}  // namespace

Interruption::Interruption() {
  signal_seen = 0;
  struct sigaction action = {};
  action.sa_handler = remember_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, &old_interrupt_);
  sigaction(SIGTERM, &action, &old_terminate_);
}

Interruption::~Interruption() {
  sigaction(SIGINT, &old_interrupt_, nullptr);
  sigaction(SIGTERM, &old_terminate_, nullptr);
}

bool Interruption::requested() const {
  return signal_seen != 0;
}

}  // namespace blip2
