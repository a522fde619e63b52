// What a person sees while a run goes on, on standard error so that results can be piped: on a terminal one line that
// is redrawn in place and fits the window, elsewhere (a log file, a batch system) a plain line every few steps.
#pragma once

#include <chrono>
#include <cstdint>
#include <ostream>
#include <string>

#include "blip2/train/step_record.h"

namespace blip2 {

/** "42s", "3m07s", "1h02m" or "2d03h". */
std::string duration_text(double seconds);

/**
 * "step 120/1000 | loss 4.213 | itc 1.204 itm 0.612 | lr 1.00e-04 | 41.3 images/s | 3m07s left". Where it is wider than
 * `width` characters (0: no limit) the parts go first, then speed, rate and loss.
 */
std::string progress_text(const StepRecord& record, std::int64_t total_steps, double samples_per_second,
                          double seconds_left, std::int64_t width);

class Progress {
 public:
  /** On standard error: redrawn when that is a terminal, else one plain line every `log_every` steps. */
  explicit Progress(std::int64_t log_every);

  /** On any stream; `width` > 0 draws for a terminal of that width. */
  Progress(std::ostream& stream, std::int64_t log_every, std::int64_t width)
      : stream_(stream), log_every_(log_every), width_(width) {}

  /** Ends a line that is being redrawn. */
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /** Shows a finished step. Speed and time left are a running mean over about ten steps. */
  void show(const StepRecord& record, std::int64_t total_steps);

  /** A sentence on a line of its own. */
  void say(const std::string& sentence);

 private:
  std::int64_t current_width() const;

  std::ostream& stream_;
  std::int64_t log_every_;
  /** 0: not a terminal; -1: ask the terminal each time, its window can change. */
  std::int64_t width_;
  bool line_open_ = false;
  double mean_seconds_ = 0;
  std::chrono::steady_clock::time_point last_drawn_{};
};

}  // namespace blip2
