#include "blip2/train/run_folder_training.h"

#include "blip2/core/config.h"
#include "blip2/core/error.h"
#include "blip2/text/load_tokenizer.h"

namespace blip2 {
namespace {

/** The task's tokenizer and the file or folder that gave it; null where the run needs none of its own. */
struct TokenizerOrigin {
  const Tokenizer* tokenizer = nullptr;
  std::string path;
};

/** Vocabulary files beside the checkpoint, so that the folder can be used alone. */
void keep_tokenizer(const Tokenizer& tokenizer, const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) throw WorldError("cannot make the folder '" + folder.string() + "': " + error.message());
  tokenizer.save(folder);
}

bool same_vocabulary(const Tokenizer& a, const Tokenizer& b) {
  if (a.vocabulary_size() != b.vocabulary_size()) return false;
  for (std::int64_t id = 0; id < a.vocabulary_size(); ++id) {
    if (a.token(id) != b.token(id)) return false;
  }
  return true;
}

/** The config names files, and files change: ids that mean other words would spoil the model without a sound. */
void check_same_vocabulary(const TokenizerOrigin& origin, const std::filesystem::path& output) {
  if (same_vocabulary(*load_tokenizer(output / "tokenizer"), *origin.tokenizer)) return;
  throw UserError("the run in '" + output.string() + "' was trained with another vocabulary than '" + origin.path +
                  "' gives now: restore that to resume it, choose another output folder, or start over with --fresh "
                  "--overwrite");
}

int train(TrainTask& task, const TrainerOptions& options, const nlohmann::json& config, const nlohmann::json& defaults,
          const RunPlace& place, const TokenizerOrigin& origin = {}) {
  Progress progress(options.log_every);
  Trainer trainer(task, options, {place.output, config, defaults, place.fresh, place.overwrite}, progress);
  // Only now is it sure that the folder is not another run's, whose vocabulary would be lost.
  if (origin.tokenizer != nullptr) {
    const std::filesystem::path folder = place.output / "tokenizer";
    if (trainer.step() > 0 && std::filesystem::exists(folder)) {
      check_same_vocabulary(origin, place.output);
    } else {
      keep_tokenizer(*origin.tokenizer, folder);
    }
  }
  return exit_code(trainer.run());
}

}  // namespace

int train_in_folder(Stage1Task& task, const RunPlace& place) {
  nlohmann::json config = write_config(task.options());
  if (const auto& vision = task.vision_origin()) config["origins"] = {{"vision", write_config(*vision)}};
  return train(task, task.options().train, config, write_config(Stage1Options()), place,
               {&task.tokenizer(), task.options().text.tokenizer});
}

int train_in_folder(Stage2Task& task, const RunPlace& place) {
  nlohmann::json config = write_config(task.options());
  config["origins"] = {{"stage1", write_config(task.stage1_origin())},
                       {"language_model", write_config(task.language_model_origin())}};
  return train(task, task.options().train, config, write_config(Stage2Options()), place);
}

int train_in_folder(LanguageModelTask& task, const RunPlace& place) {
  const auto& text = task.options().text;
  return train(task, task.options().train, write_config(task.options()), write_config(LanguageModelTaskOptions()),
               place, {&task.tokenizer(), text.tokenizer.empty() ? text.file : text.tokenizer});
}

}  // namespace blip2
