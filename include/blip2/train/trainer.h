// The step loop: batch, forward, backward, optimise, log, validate and checkpoint. It knows no loss and no model
// (train_task.h). A run lives in one output folder and is a function of its config: killed at any moment and started
// again with the same command it goes on from OUT/checkpoint and ends with the same bits.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "blip2/core/field_visitor.h"
#include "blip2/nn/autocast.h"
#include "blip2/train/loss_scale.h"
#include "blip2/train/optimizer.h"
#include "blip2/train/progress.h"
#include "blip2/train/run_checkpoint.h"
#include "blip2/train/run_log.h"
#include "blip2/train/schedule.h"
#include "blip2/train/train_task.h"

namespace blip2 {

class RunLock;

struct TrainerOptions {
  /** Seeds torch's generators when a run starts; the data sources take the same number. */
  std::int64_t seed = 42;
  /** Optimizer steps of the whole run. */
  std::int64_t steps = 1000;
  /**
   * Micro-batches whose gradients are averaged into one optimizer step. Each is a batch of its own: contrast and hard
   * negatives of stage 1 see the pictures and texts of their micro-batch (of all ranks), not those of the whole step.
   */
  std::int64_t accumulation_steps = 1;
  ScheduleOptions schedule;
  OptimizerOptions optimizer;
  /** Gradients are scaled down to this global norm; 0 leaves them. */
  double max_grad_norm = 0;
  /**
   * What matrix products are computed in: "float32", "bfloat16" or "float16" (nn/autocast.h). Weights, optimizer and
   * losses are float32 in every case. With float16 a step whose gradient overflows is skipped and halves the loss scale
   * (loss_scale.h). That is no trouble, unless the scale is down at 1: only then is it counted, among
   * `max_skipped_steps` and at the end, and its batch written.
   */
  std::string precision = "float32";
  /** Layers are computed again in the backward pass instead of kept: less memory, the same numbers, more time. */
  bool activation_checkpointing = false;
  /** Steps between plain progress lines where standard error is no terminal. The log gets every step. */
  std::int64_t log_every = 10;
  /** Steps between validations, and one after the last; 0: none. */
  std::int64_t validate_every = 0;
  /** Steps between checkpoints; there is always one after the last step. 0: only that. */
  std::int64_t checkpoint_every = 1000;
  /** How many older checkpoints stay as OUT/checkpoint-STEP beside the latest, which then has such a name too. */
  std::int64_t keep_checkpoints = 0;
  /**
   * So many steps in a row with a loss or gradient that is not finite end the run. The batches of the row's first step
   * are written to OUT/skipped/step-N.safetensors, N being the number of the step in the log.
   */
  std::int64_t max_skipped_steps = 10;
  /**
   * Batches of the first steps that are written to OUT/recorded/step-N.safetensors, beside the weights before the first
   * in initial.safetensors: to repeat a run elsewhere.
   */
  std::int64_t record_steps = 0;
  /** Threads of torch; 0: as many as it chooses. Bit-identical runs need the same number. */
  std::int64_t threads = 0;
};

/** One flat section: `schedule` and `optimizer` stand for their fields. */
void visit_fields(FieldVisitor& visitor, TrainerOptions& options);

/** Throws UserError naming an option that is out of range; tasks ask it before they load anything. */
void check_options(const TrainerOptions& options);

/** Where a run lives and how it starts. */
struct RunFolder {
  std::filesystem::path output;
  /** The whole config, saved beside the weights and compared when the run is resumed. */
  nlohmann::json config = nlohmann::json::object();
  /** What a config has where nobody chose: stands in for options that a resumed run's config is too old to name. */
  nlohmann::json defaults = nlohmann::json::object();
  /** Start over instead of resuming: refused where a run exists, unless `overwrite` says to delete it. */
  bool fresh = false;
  bool overwrite = false;
};

enum class TrainResult { kFinished, kInterrupted };

/** 0, or kInterruptedExitCode (130). */
int exit_code(TrainResult result);

class Trainer {
 public:
  /**
   * Checks the options and locks the folder, then resumes from RUN.output/checkpoint or, where there is none, seeds
   * torch for a fresh start. `task` and `progress` must outlive it. Throws UserError for bad options, a changed config,
   * a checkpoint of another model, a folder of that name that is none, a `fresh` start over an existing run, or where
   * another process trains; WorldError when the folder cannot be written.
   */
  Trainer(TrainTask& task, const TrainerOptions& options, RunFolder run, Progress& progress);
  ~Trainer();

  /**
   * Trains to the last step, or until SIGINT or SIGTERM, which end it after the current step; both save a checkpoint.
   * Throws UserError after max_skipped_steps in a row, WorldError when the disk refuses; the last complete checkpoint
   * stays in both cases.
   */
  TrainResult run();

  /** Finished steps. Above 0 before `run` where a run is resumed. */
  std::int64_t step() const { return step_; }

 private:
  StepRecord train_step();
  /** Forward and backward of the step's micro-batches into gradients and record -> the batches, for inspection. */
  std::vector<NamedTensors> accumulate_gradients(StepRecord& record);
  void optimize(StepRecord& record);
  std::filesystem::path made_folder(const std::string& name) const;
  void record_initial_weights() const;
  void write_batches(const std::vector<NamedTensors>& batches, const std::string& folder) const;
  Metrics validate();
  void save_checkpoint();
  void start_or_resume();
  void stop_when_hopeless() const;
  bool due(std::int64_t every) const { return every > 0 && (step_ % every == 0 || step_ == options_.steps); }

  TrainTask& task_;
  TrainerOptions options_;
  RunFolder run_;
  Progress& progress_;
  AdamW optimizer_;
  Precision precision_;
  LossScale loss_scale_;
  std::unique_ptr<RunLock> lock_;
  std::optional<RunLog> log_;
  std::int64_t step_ = 0;
  std::int64_t saved_step_ = -1;
  std::int64_t skipped_ = 0;
  std::int64_t skipped_in_row_ = 0;  // since a step was taken
  std::int64_t row_began_ = 0;       // the first step of these
};

}  // namespace blip2
