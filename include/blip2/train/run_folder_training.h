// From a task to a run folder: OUT/checkpoint, OUT/log.jsonl and OUT/tokenizer.
#pragma once

#include <filesystem>

#include "blip2/train/language_model_task.h"
#include "blip2/train/stage1.h"
#include "blip2/train/stage2.h"

namespace blip2 {

struct RunPlace {
  std::filesystem::path output;
  bool fresh = false;
  bool overwrite = false;
};

/**
 * Trains, or goes on training, in the folder; progress goes to standard error. Returns the exit code: 0, or 130 where
 * the run was interrupted and can be resumed. Throws what Trainer throws, and UserError where a resumed run's
 * OUT/tokenizer holds another vocabulary than the task's.
 */
int train_in_folder(Stage1Task& task, const RunPlace& place);
int train_in_folder(Stage2Task& task, const RunPlace& place);
int train_in_folder(LanguageModelTask& task, const RunPlace& place);

}  // namespace blip2
