// What is known about one finished optimizer step: the log writes it, the progress line shows it.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "blip2/train/train_task.h"

namespace blip2 {

struct StepRecord {
  /** Finished steps, this one included. */
  std::int64_t step = 0;
  double loss = 0;
  std::vector<std::pair<std::string, double>> parts;
  double learning_rate = 0;
  /** Global 2-norm before clipping. */
  double grad_norm = 0;
  /** The loss or a gradient was not finite, so the weights were left as they were. */
  bool skipped = false;
  /** What the loss was multiplied by for float16's sake; 1 in the other precisions. */
  double loss_scale = 1;
  Metrics validation;

  std::string sample_unit = "images";
  std::int64_t samples = 0;
  /** Wall-clock seconds of the whole step, and of waiting for its data. */
  double seconds = 0;
  double data_seconds = 0;

  double samples_per_second() const { return seconds > 0 ? static_cast<double>(samples) / seconds : 0; }
};

}  // namespace blip2
