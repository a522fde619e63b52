#include "blip2/train/trainer.h"

#include <chrono>
#include <cmath>

#include "blip2/checkpoint/module_state.h"
#include "blip2/core/atomic_folder.h"
#include "blip2/core/error.h"
#include "blip2/core/weight_memory.h"
#include "blip2/nn/activation_checkpointing.h"
#include "blip2/nn/linear.h"
#include "blip2/train/interruption.h"
#include "train/restore_tensors.h"
#include "train/run_lock.h"

namespace blip2 {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void check_at_least(const char* name, std::int64_t value, std::int64_t least) {
  if (value >= least) return;
  throw UserError("'" + std::string(name) + "' must be at least " + std::to_string(least) + ", found " +
                  std::to_string(value));
}

at::Device device_of(const NamedTensors& parameters) {
  return parameters.empty() ? at::Device(at::kCPU) : parameters.begin()->second.device();
}

// The losses of one step, summed on the device: reading a number would make the host wait for it.
class LossMean {
 public:
  explicit LossMean(std::int64_t count) : count_(static_cast<double>(count)) {}

  void add(const StepLosses& losses) {
    accumulate(total_, losses.total);
    parts_.resize(losses.parts.size());
    for (std::size_t i = 0; i < losses.parts.size(); ++i) {
      parts_[i].first = losses.parts[i].first;
      accumulate(parts_[i].second, losses.parts[i].second);
    }
  }

  void read(StepRecord& record) const {
    record.loss = total_.item<double>() / count_;
    for (const auto& [name, sum] : parts_) record.parts.emplace_back(name, sum.item<double>() / count_);
  }

 private:
  static void accumulate(at::Tensor& sum, const at::Tensor& value) {
    sum = sum.defined() ? sum + value.detach() : value.detach();
  }

  double count_;
  at::Tensor total_;
  std::vector<std::pair<std::string, at::Tensor>> parts_;
};

}  // namespace

void visit_fields(FieldVisitor& visitor, TrainerOptions& options) {
  visitor.field("seed", options.seed);
  visitor.field("steps", options.steps);
  visitor.field("accumulation_steps", options.accumulation_steps);
  visit_fields(visitor, options.schedule);
  visit_fields(visitor, options.optimizer);
  visitor.field("max_grad_norm", options.max_grad_norm);
  visitor.field("precision", options.precision);
  visitor.field("activation_checkpointing", options.activation_checkpointing);
  visitor.field("log_every", options.log_every);
  visitor.field("validate_every", options.validate_every);
  visitor.field("checkpoint_every", options.checkpoint_every);
  visitor.field("keep_checkpoints", options.keep_checkpoints);
  visitor.field("max_skipped_steps", options.max_skipped_steps);
  visitor.field("record_steps", options.record_steps);
  visitor.field("threads", options.threads);
}

void check_options(const TrainerOptions& options) {
  check_at_least("steps", options.steps, 1);
  check_at_least("accumulation_steps", options.accumulation_steps, 1);
  check_at_least("log_every", options.log_every, 0);
  check_at_least("validate_every", options.validate_every, 0);
  check_at_least("checkpoint_every", options.checkpoint_every, 0);
  check_at_least("keep_checkpoints", options.keep_checkpoints, 0);
  check_at_least("max_skipped_steps", options.max_skipped_steps, 1);
  check_at_least("record_steps", options.record_steps, 0);
  check_at_least("threads", options.threads, 0);
  if (!(options.max_grad_norm >= 0)) {
    throw UserError("'max_grad_norm' must be 0 or more, found " + std::to_string(options.max_grad_norm));
  }
  precision_from_name(options.precision);
  check_schedule(options.schedule);
}

int exit_code(TrainResult result) {
  return result == TrainResult::kInterrupted ? kInterruptedExitCode : 0;
}

Trainer::Trainer(TrainTask& task, const TrainerOptions& options, RunFolder run, Progress& progress)
    : task_(task),
      options_(options),
      run_(std::move(run)),
      progress_(progress),
      optimizer_(trainable_parameters(task.module()), options.optimizer,
                 [&task](const std::string& name) { return task.learning_rate_scale(name); }),
      precision_(precision_from_name(options.precision)),
      loss_scale_(precision_ == Precision::kFloat16) {
  check_options(options_);
  if (needs_epochs(options_.schedule) && task_.batches_per_epoch() == 0) {
    throw UserError("schedule '" + options_.schedule.schedule +
                    "' needs data with epochs: choose 'linear_warmup_cosine'");
  }
  if (optimizer_.parameter_count() == 0) throw UserError("nothing to train: every parameter of the model is frozen");
  if (device_of(trainable_parameters(task_.module())).is_cpu() && !cpu_multiplies(precision_)) {
    progress_.say("this CPU does not multiply " + options_.precision + " itself: float32 would be faster");
  }
  keep_freed_memory();
  if (options_.threads > 0) at::set_num_threads(static_cast<int>(options_.threads));
  start_or_resume();
}

Trainer::~Trainer() = default;

void Trainer::start_or_resume() {
  std::error_code refused;
  std::filesystem::create_directories(run_.output, refused);
  if (refused) throw WorldError("cannot create '" + run_.output.string() + "': " + refused.message());
  lock_ = std::make_unique<RunLock>(run_.output);
  check_replaceable(checkpoint_folder(run_.output));  // not only when hours of training are to be saved
  remove_unfinished_checkpoints(run_.output);
  const bool exists = has_run_checkpoint(run_.output);
  if (exists && run_.fresh && !run_.overwrite) {
    throw UserError("'" + run_.output.string() +
                    "' already holds a run: leave --fresh out to resume it, add --overwrite to delete it, or choose "
                    "another output folder");
  }
  if (run_.fresh) remove_run(run_.output);
  if (exists && !run_.fresh) {
    check_same_config(load_run_config(run_.output), run_.config, run_.defaults, run_.output);
    const RunState state = load_run_checkpoint(run_.output);
    restore_tensors(trainable_parameters(task_.module()), state.parameters,
                    "the model in '" + checkpoint_folder(run_.output).string() + "'");
    optimizer_.load_state(state.optimizer);
    task_.load_state(state.task);
    restore_generator_state(state.random);
    loss_scale_.restore(state.loss_scale, state.steps_without_overflow);
    step_ = saved_step_ = state.step;
    skipped_ = state.skipped;
    skipped_in_row_ = state.skipped_in_row;
    row_began_ = state.row_began;
    progress_.say("resuming after step " + std::to_string(step_) + " from '" + checkpoint_folder(run_.output).string() +
                  "'");
  } else {
    torch::manual_seed(static_cast<std::uint64_t>(options_.seed));
  }
  log_.emplace(run_.output / "log.jsonl", step_);
}

TrainResult Trainer::run() {
  const Interruption interruption;
  task_.module().train();
  if (options_.record_steps > 0 && step_ == 0) record_initial_weights();
  while (step_ < options_.steps) {
    StepRecord record = train_step();                                  // 1-4 batch, forward, backward, optimise
    if (due(options_.validate_every)) record.validation = validate();  // 5 validate
    log_->write(record);                                               // 6 log
    progress_.show(record, options_.steps);
    stop_when_hopeless();
    const bool interrupted = interruption.requested() && step_ < options_.steps;
    if (interrupted || due(options_.checkpoint_every)) save_checkpoint();  // 7 checkpoint
    if (interrupted) {
      progress_.say("stopped after step " + std::to_string(step_) + " of " + std::to_string(options_.steps) +
                    ": run the same command again to resume from '" + checkpoint_folder(run_.output).string() + "'");
      return TrainResult::kInterrupted;
    }
  }
  if (saved_step_ != step_) save_checkpoint();
  if (skipped_ > 0) {
    progress_.say(std::to_string(skipped_) + " of " + std::to_string(step_) +
                  " steps were skipped because a loss or gradient was not finite");
  }
  if (const std::int64_t count = task_.unreadable_samples(); count > 0) {
    progress_.say(std::to_string(count) + " samples could not be read and others took their place");
  }
  return TrainResult::kFinished;
}

StepRecord Trainer::train_step() {
  const auto start = Clock::now();
  const std::int64_t steps_per_epoch =
      std::max<std::int64_t>(task_.batches_per_epoch() / options_.accumulation_steps, 1);
  StepRecord record;
  record.sample_unit = task_.sample_unit();
  record.learning_rate = learning_rate_at(options_.schedule, step_, options_.steps, steps_per_epoch);
  optimizer_.zero_gradients();
  const std::vector<NamedTensors> batches = accumulate_gradients(record);  // 1-3 batch, forward, backward
  optimize(record);                                                        // 4 optimise
  record.step = ++step_;
  if (step_ <= options_.record_steps) write_batches(batches, "recorded");
  if (record.skipped && row_began_ == step_) write_batches(batches, "skipped");
  record.seconds = seconds_since(start);
  return record;
}

void Trainer::optimize(StepRecord& record) {
  record.loss_scale = loss_scale_.value();
  if (record.loss_scale != 1) optimizer_.scale_gradients(1.0 / record.loss_scale);
  record.grad_norm = optimizer_.clip_gradients(options_.max_grad_norm);
  const bool loss_is_finite = std::isfinite(record.loss);
  record.skipped = !loss_is_finite || !std::isfinite(record.grad_norm);
  if (record.skipped) {
    // An overflow that a smaller scale may cure is float16's way of finding the scale, and no sign of trouble.
    const bool finds_scale = loss_is_finite && loss_scale_.can_shrink();
    if (!finds_scale) {
      ++skipped_;
      if (++skipped_in_row_ == 1) row_began_ = step_ + 1;
    }
    loss_scale_.shrink();
  } else {
    optimizer_.step(record.learning_rate);
    skipped_in_row_ = 0;
    loss_scale_.grow();
  }
  optimizer_.zero_gradients();
}

std::vector<NamedTensors> Trainer::accumulate_gradients(StepRecord& record) {
  std::vector<NamedTensors> batches;
  const std::int64_t micro_batches = options_.accumulation_steps;
  LossMean mean(micro_batches);
  const GradientsInPlace in_place;
  const ActivationCheckpointing checkpointing(options_.activation_checkpointing);
  const Autocast half_precision(precision_, device_of(trainable_parameters(task_.module())).type());
  for (std::int64_t i = 0; i < micro_batches; ++i) {
    const auto asked = Clock::now();
    record.samples += task_.next_batch(step_ * micro_batches + i);
    record.data_seconds += seconds_since(asked);
    mean.add(task_.add_gradients(step_, loss_scale_.value() / static_cast<double>(micro_batches)));
    batches.push_back(task_.inspect_batch());
  }
  mean.read(record);
  return batches;
}

std::filesystem::path Trainer::made_folder(const std::string& name) const {
  const std::filesystem::path place = run_.output / name;
  std::error_code refused;
  std::filesystem::create_directories(place, refused);
  if (refused) throw WorldError("cannot create '" + place.string() + "': " + refused.message());
  return place;
}

void Trainer::record_initial_weights() const {
  NamedTensors weights;
  for (const auto& [name, parameter] : named_parameters(task_.module())) weights.emplace(name, parameter.detach());
  save_safetensors(weights, made_folder("recorded") / "initial.safetensors");
}

void Trainer::write_batches(const std::vector<NamedTensors>& batches, const std::string& folder) const {
  const std::filesystem::path place = made_folder(folder);
  for (std::size_t i = 0; i < batches.size(); ++i) {
    if (batches[i].empty()) continue;
    const std::string part = batches.size() > 1 ? "-" + std::to_string(i) : "";
    save_safetensors(batches[i], place / ("step-" + std::to_string(step_) + part + ".safetensors"));
  }
}

Metrics Trainer::validate() {
  const torch::NoGradGuard no_grad;
  const at::Device device = device_of(trainable_parameters(task_.module()));
  const GeneratorState state = generator_state(device);
  const Autocast half_precision(precision_, device.type());
  task_.module().eval();
  Metrics metrics = task_.validate(step_);
  task_.module().train();
  restore_generator_state(state);
  return metrics;
}

void Trainer::save_checkpoint() {
  RunState state;
  state.step = step_;
  state.skipped = skipped_;
  state.skipped_in_row = skipped_in_row_;
  state.row_began = row_began_;
  for (const auto& [name, parameter] : trainable_parameters(task_.module())) {
    state.parameters.emplace(name, parameter.detach());
  }
  state.optimizer = optimizer_.state();
  state.task = task_.state();
  state.random = generator_state(device_of(state.parameters));
  state.loss_scale = loss_scale_.value();
  state.steps_without_overflow = loss_scale_.steps_without_overflow();
  log_->flush_to_disk();  // a checkpoint must not survive a power cut that its log does not
  save_run_checkpoint(run_.output, state, run_.config, options_.keep_checkpoints);
  saved_step_ = step_;
}

void Trainer::stop_when_hopeless() const {
  if (skipped_in_row_ < options_.max_skipped_steps) return;
  const std::string kept = saved_step_ >= 0 ? "the checkpoint of step " + std::to_string(saved_step_) +
                                                  " is kept in '" + checkpoint_folder(run_.output).string() + "'"
                                            : "no checkpoint was written yet";
  const std::string batch = run_.output.string() + "/skipped/step-" + std::to_string(row_began_);
  throw UserError("a loss or gradient was not finite in " + std::to_string(skipped_in_row_) +
                  " steps in a row, the last of them step " + std::to_string(step_) + ": " + kept +
                  "; look at the first batch ('" + batch +
                  "*.safetensors'), lower 'learning_rate' or set "
                  "'max_grad_norm'");
}

}  // namespace blip2
