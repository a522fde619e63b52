// The seam between the trainer and what is trained: stage 1, stage 2 and language-model training are each one TrainTask
// over a batch source. The trainer knows no loss, no batch and no model; a task knows no step loop, file or signal.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "blip2/checkpoint/safetensors.h"

namespace torch::nn {
class Module;
}

namespace blip2 {

/** What one micro-batch gives: `total` [] is what gradients are of, `parts` [] are shown and logged beside it. */
struct StepLosses {
  at::Tensor total;
  std::vector<std::pair<std::string, at::Tensor>> parts;
};

/** Adds the gradients of `scale` times the total to the leaves' `grad` -> the losses without a graph. */
StepLosses differentiated(StepLosses losses, double scale);

/** Named numbers of a validation, e.g. {"recall_at_1", 0.41}. */
using Metrics = std::vector<std::pair<std::string, double>>;

class TrainTask {
 public:
  virtual ~TrainTask() = default;

  /** The model; what requires a gradient in it is trained and saved, everything else is left alone. Buffers are not
   * saved. */
  virtual torch::nn::Module& module() = 0;

  /**
   * Fetches micro-batch `position` and returns its number of samples. Positions count all micro-batches of the run from
   * 0; they rise by one except after a resume, which is the only thing a data source needs to know to continue.
   */
  virtual std::int64_t next_batch(std::int64_t position) = 0;

  /**
   * The losses of the fetched batch, means over its samples, without a graph; `step` is the optimizer step, from 0. The
   * gradients of `scale` times their total are added to the parameters' `grad`.
   */
  virtual StepLosses add_gradients(std::int64_t step, double scale) = 0;

  /** Factor on the learning rate of the parameter NAME of the module; asked once, before training. */
  virtual double learning_rate_scale(const std::string& name) const {
    (void)name;
    return 1.0;
  }

  /**
   * The fetched batch as its losses were computed from it, for inspection: what is written where a loss or gradient was
   * not finite. Empty where there is nothing to show.
   */
  virtual NamedTensors inspect_batch() const { return {}; }

  /** Numbers for the log; called without gradients and with the module in evaluation mode. The trainer restores torch's
   * random state afterwards, so validating more or less often does not change what is trained. */
  virtual Metrics validate(std::int64_t step) {
    (void)step;
    return {};
  }

  /** Micro-batches of an epoch; 0 where the data has no epochs. */
  virtual std::int64_t batches_per_epoch() const { return 0; }

  /** Samples that were met so far, could not be read and were replaced. */
  virtual std::int64_t unreadable_samples() const { return 0; }

  /** What the samples are called in the log: `images_per_second`. */
  virtual std::string sample_unit() const { return "images"; }

  /** Tensors of the task's own (a queue, a running mean) that a resumed run needs. */
  virtual NamedTensors state() const { return {}; }
  virtual void load_state(const NamedTensors& state) { (void)state; }
};

}  // namespace blip2
