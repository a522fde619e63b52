// `log.jsonl`: one JSON object per optimizer step. A run that was killed and resumed leaves the same lines as one that
// was not, except for the key "timing", which holds everything that depends on the clock.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

#include "blip2/train/step_record.h"

namespace blip2 {

/**
 * The line without its newline: {"step", "loss", "losses": {...}, "learning_rate", "grad_norm", "skipped" (only when
 * true), "validation" (only when there was one), "timing": {"seconds", "data_seconds", "images_per_second"}}. Numbers
 * are printed so that they read back to the same bits; what is not finite is null.
 */
std::string log_line(const StepRecord& record);

class RunLog {
 public:
  /**
   * Opens the log to continue after `last_step`: later lines, and a last line that was cut off by a kill, are removed
   * (written beside and renamed). 0 starts an empty log. Throws WorldError.
   */
  RunLog(const std::filesystem::path& path, std::int64_t last_step);

  /** Appends one line and flushes it. Throws WorldError when the disk refuses. */
  void write(const StepRecord& record);

  /** Makes what was written survive a power cut. Throws WorldError when the disk refuses. */
  void flush_to_disk();

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::filesystem::path path_;
  std::unique_ptr<std::FILE, Close> file_;
};

}  // namespace blip2
