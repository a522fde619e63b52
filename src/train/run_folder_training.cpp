#include "blip2/train/run_folder_training.h"

#include "blip2/core/config.h"
#include "blip2/core/error.h"

namespace blip2 {
namespace {

int train(TrainTask& task, const TrainerOptions& options, const nlohmann::json& config, const RunPlace& place) {
  Progress progress(options.log_every);
  Trainer trainer(task, options, {place.output, config, place.fresh, place.overwrite}, progress);
  return exit_code(trainer.run());
}

/** Vocabulary files beside the checkpoint, so that the folder can be used alone. */
void keep_tokenizer(const Tokenizer& tokenizer, const std::filesystem::path& output) {
  std::error_code error;
  std::filesystem::create_directories(output / "tokenizer", error);
  if (error) throw WorldError("cannot make the folder '" + (output / "tokenizer").string() + "': " + error.message());
  tokenizer.save(output / "tokenizer");
}

}  // namespace

int train_in_folder(Stage1Task& task, const RunPlace& place) {
  keep_tokenizer(task.tokenizer(), place.output);
  return train(task, task.options().train, write_config(task.options()), place);
}

int train_in_folder(Stage2Task& task, const RunPlace& place) {
  nlohmann::json config = write_config(task.options());
  config["origins"] = {{"stage1", write_config(task.stage1_origin())},
                       {"language_model", write_config(task.language_model_origin())}};
  return train(task, task.options().train, config, place);
}

int train_in_folder(LanguageModelTask& task, const RunPlace& place) {
  keep_tokenizer(task.tokenizer(), place.output);
  return train(task, task.options().train, write_config(task.options()), place);
}

}  // namespace blip2
