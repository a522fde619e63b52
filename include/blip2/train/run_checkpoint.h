// The folder OUT/checkpoint of a run, replaced as a whole: what was trained (model.safetensors), the run's config
// (config.json) and, apart because only a resumed run needs it, optimizer, random numbers and position
// (train_state.safetensors). The position is the number of finished steps: order and augmentation of the data are
// functions of (seed, epoch, index), so nothing else has to be stored for them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "blip2/checkpoint/safetensors.h"
#include "blip2/core/generator_state.h"

namespace blip2 {

/** Everything that a resumed run needs to go on bit for bit. */
struct RunState {
  /** Finished optimizer steps. */
  std::int64_t step = 0;
  /** Steps skipped in trouble (TrainerOptions), those of them since a step was taken, and the first of these. */
  std::int64_t skipped = 0, skipped_in_row = 0, row_began = 0;
  /** The trained parameters. */
  NamedTensors parameters;
  NamedTensors optimizer;
  NamedTensors task;
  GeneratorState random;
  /** Of float16 (loss_scale.h): what losses are multiplied by, and for how many steps nothing has overflowed. */
  double loss_scale = 1;
  std::int64_t steps_without_overflow = 0;
};

/** OUT/checkpoint. */
std::filesystem::path checkpoint_folder(const std::filesystem::path& output);

/**
 * Replaces OUT/checkpoint atomically. Where `keep` > 0 it is also kept as OUT/checkpoint-STEP (hard links), beside the
 * `keep` before it; older ones are removed. Throws WorldError; the last complete checkpoint then stays.
 */
void save_run_checkpoint(const std::filesystem::path& output, const RunState& state, const nlohmann::json& config,
                         std::int64_t keep);

/** Whether OUT holds a checkpoint, also where a writer died while replacing it. */
bool has_run_checkpoint(const std::filesystem::path& output);

/** The config of the run in OUT. Throws UserError. */
nlohmann::json load_run_config(const std::filesystem::path& output);

/** The state of the run in OUT. Throws UserError for a folder that is no complete checkpoint. */
RunState load_run_checkpoint(const std::filesystem::path& output);

/** Removes what a killed run left half written. Only for a moment when nobody writes there. Does not throw. */
void remove_unfinished_checkpoints(const std::filesystem::path& output) noexcept;

/** Removes all checkpoints, the log and the tokenizer of a run. Throws WorldError. */
void remove_run(const std::filesystem::path& output);

/**
 * Throws UserError naming the keys that differ, old value and new, unless they only change what is shown or saved
 * (log_every, validate_every, checkpoint_every, keep_checkpoints, threads, workers, ...). A key that the stored config
 * lacks, because it was written before there was such an option, counts as having the value in `defaults`.
 */
void check_same_config(const nlohmann::json& stored, const nlohmann::json& current, const nlohmann::json& defaults,
                       const std::filesystem::path& output);

}  // namespace blip2
