// Runs the toy task in a folder and reads back what a run leaves there.
#pragma once

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "blip2/core/config.h"
#include "blip2/train/trainer.h"
#include "train/toy_task.h"

namespace blip2 {

inline TrainerOptions toy_options() {
  TrainerOptions options;
  options.seed = 3;
  options.steps = 20;
  options.accumulation_steps = 2;
  options.schedule.learning_rate = 1e-2;
  options.schedule.warmup_steps = 3;
  options.max_grad_norm = 1.0;
  options.checkpoint_every = 6;
  options.threads = 1;
  return options;
}

struct ToyRun {
  explicit ToyRun(std::filesystem::path folder, TrainerOptions trainer_options = toy_options())
      : output(std::move(folder)), options(std::move(trainer_options)) {}

  TrainResult run() {
    Progress progress(said, options.log_every, 0);
    Trainer trainer(task, options, {output, write_config(options), write_config(TrainerOptions()), fresh, overwrite},
                    progress);
    return trainer.run();
  }

  std::filesystem::path output;
  TrainerOptions options;
  ToyTask task;
  bool fresh = false;
  bool overwrite = false;
  std::ostringstream said;
};

/** The lines of log.jsonl without what depends on the clock. */
inline std::vector<nlohmann::json> log_of(const std::filesystem::path& output) {
  std::ifstream stream(output / "log.jsonl");
  std::vector<nlohmann::json> lines;
  std::string line;
  while (std::getline(stream, line)) {
    lines.push_back(nlohmann::json::parse(line));
    lines.back().erase("timing");
  }
  return lines;
}

inline bool same_bits(const NamedTensors& a, const NamedTensors& b) {
  if (a.size() != b.size()) return false;
  return std::equal(a.begin(), a.end(), b.begin(), [](const auto& x, const auto& y) {
    return x.first == y.first && x.second.scalar_type() == y.second.scalar_type() && at::equal(x.second, y.second);
  });
}

/** Whether two output folders hold the same run, to the last bit: weights, optimizer, random numbers, log. */
inline bool same_run(const std::filesystem::path& a, const std::filesystem::path& b) {
  const RunState x = load_run_checkpoint(a), y = load_run_checkpoint(b);
  return x.step == y.step && same_bits(x.parameters, y.parameters) && same_bits(x.optimizer, y.optimizer) &&
         same_bits(x.task, y.task) && same_bits(x.random, y.random) && log_of(a) == log_of(b);
}

}  // namespace blip2
