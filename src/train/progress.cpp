#include "blip2/train/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>

namespace blip2 {
namespace {

constexpr std::int64_t kAskTerminal = -1;
// More often than the eye can follow would only cost time.
constexpr auto kRedrawInterval = std::chrono::milliseconds(100);
constexpr double kMeanOverSteps = 10;

template <typename... Values>
std::string format(const char* pattern, Values... values) {
  char text[96];
  std::snprintf(text, sizeof text, pattern, values...);
  return text;
}

}  // namespace

std::string duration_text(double seconds) {
  if (!std::isfinite(seconds) || seconds > 86400.0 * 9999) return "?";
  const auto whole = static_cast<long long>(std::llround(std::max(seconds, 0.0)));
  if (whole < 60) return format("%llds", whole);
  if (whole < 3600) return format("%lldm%02llds", whole / 60, whole % 60);
  if (whole < 86400) return format("%lldh%02lldm", whole / 3600, whole / 60 % 60);
  return format("%lldd%02lldh", whole / 86400, whole / 3600 % 24);
}

std::string progress_text(const StepRecord& record, std::int64_t total_steps, double samples_per_second,
                          double seconds_left, std::int64_t width) {
  std::string parts;
  for (const auto& [name, value] : record.parts) parts += (parts.empty() ? "" : " ") + name + format(" %.4g", value);
  for (const auto& [name, value] : record.validation) {
    parts += (parts.empty() ? "" : " ") + name + format(" %.4g", value);
  }
  std::string loss = format("loss %.4g", record.loss) + (record.skipped ? " (step skipped)" : "");
  struct Field {
    std::string text;
    int dropped_in_round;  // 0: never
  };
  const Field fields[] = {
      {format("step %lld/%lld", static_cast<long long>(record.step), static_cast<long long>(total_steps)), 0},
      {loss, 4},
      {parts, 1},
      {format("lr %.2e", record.learning_rate), 3},
      {format("%.1f ", samples_per_second) + record.sample_unit + "/s", 2},
      {duration_text(seconds_left) + " left", 5},
  };
  std::string text;
  for (int round = 0; round <= 5; ++round) {
    text.clear();
    for (const auto& field : fields) {
      if (field.text.empty() || (field.dropped_in_round > 0 && field.dropped_in_round <= round)) continue;
      text += (text.empty() ? "" : " | ") + field.text;
    }
    if (width <= 0 || text.size() <= static_cast<std::size_t>(width)) return text;
  }
  return text.substr(0, static_cast<std::size_t>(width));
}

Progress::Progress(std::int64_t log_every) : Progress(std::cerr, log_every, isatty(STDERR_FILENO) ? kAskTerminal : 0) {}

Progress::~Progress() {
  if (line_open_) stream_ << std::endl;
}

std::int64_t Progress::current_width() const {
  if (width_ != kAskTerminal) return width_;
  winsize window{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 0 ? window.ws_col : 80;
}

void Progress::show(const StepRecord& record, std::int64_t total_steps) {
  const double weight = mean_seconds_ == 0 ? 1.0 : 1.0 / kMeanOverSteps;
  mean_seconds_ += weight * (record.seconds - mean_seconds_);
  const double speed = mean_seconds_ > 0 ? static_cast<double>(record.samples) / mean_seconds_ : 0;
  const double left = mean_seconds_ * static_cast<double>(total_steps - record.step);
  const bool last = record.step == total_steps;
  const bool notable = last || record.skipped || !record.validation.empty();
  if (width_ == 0) {
    if (!notable && (log_every_ <= 0 || record.step % log_every_ != 0)) return;
    stream_ << progress_text(record, total_steps, speed, left, 0) << std::endl;
    return;
  }
  const auto now = std::chrono::steady_clock::now();
  if (!notable && now - last_drawn_ < kRedrawInterval) return;
  last_drawn_ = now;
  // One column stays free: a terminal may wrap after the last one.
  stream_ << "\r" << progress_text(record, total_steps, speed, left, current_width() - 1) << "\x1b[K" << std::flush;
  line_open_ = true;
}

void Progress::say(const std::string& sentence) {
  if (line_open_) stream_ << "\n";
  line_open_ = false;
  stream_ << sentence << std::endl;
}

}  // namespace blip2
