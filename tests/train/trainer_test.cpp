#include "blip2/train/trainer.h"

#include <cmath>

#include "blip2/checkpoint/module_state.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "train/toy_run.h"

namespace blip2 {
namespace {

using ::testing::HasSubstr;

TEST(Trainer, LearnsAndLogsEveryStep) {
  const TemporaryFolder folder;
  auto options = toy_options();
  options.steps = 300;
  ToyRun run(folder.path() / "run", options);
  EXPECT_EQ(run.run(), TrainResult::kFinished);
  const auto log = log_of(run.output);
  ASSERT_EQ(log.size(), 300u);
  EXPECT_GT(log[0]["loss"].get<double>(), 4 * log[299]["loss"].get<double>());
  EXPECT_EQ(log[0]["step"], 1);
  EXPECT_EQ(log[0]["learning_rate"], 1e-6);
  EXPECT_EQ(log[3]["learning_rate"], 1e-2);
  EXPECT_GT(log[0]["grad_norm"].get<double>(), 0.0);
  EXPECT_NEAR(log[0]["loss"], log[0]["losses"]["square"].get<double>() + log[0]["losses"]["absolute"].get<double>(),
              1e-6);
  EXPECT_FALSE(log[0].contains("skipped"));
}

TEST(Trainer, RepeatsItselfBitForBit) {
  const TemporaryFolder folder;
  for (const char* name : {"a", "b"}) ToyRun(folder.path() / name).run();
  EXPECT_TRUE(same_run(folder.path() / "a", folder.path() / "b"));
  auto options = toy_options();
  options.seed = 4;
  ToyRun(folder.path() / "c", options).run();
  EXPECT_FALSE(same_run(folder.path() / "a", folder.path() / "c"));  // the dropout does draw from the seed
}

TEST(Trainer, AccumulatesWhatALargeBatchWouldGive) {
  const TemporaryFolder folder;
  auto options = toy_options();
  options.accumulation_steps = 1;
  ToyRun large(folder.path() / "large", options);
  large.task.batch_size = 8;
  options.accumulation_steps = 4;
  ToyRun accumulated(folder.path() / "accumulated", options);
  accumulated.task.batch_size = 2;
  for (auto* run : {&large, &accumulated}) {
    run->task.model->dropout = 0;
    run->run();
  }
  const auto a = log_of(large.output), b = log_of(accumulated.output);
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_NEAR(a[i]["loss"], b[i]["loss"], 1e-5) << i;
    EXPECT_NEAR(a[i]["grad_norm"], b[i]["grad_norm"], 1e-5) << i;
  }
  EXPECT_TRUE(at::allclose(large.task.model->hidden->weight, accumulated.task.model->hidden->weight, 1e-4, 1e-5));
}

TEST(Trainer, NeitherTouchesNorSavesWhatIsFrozen) {
  const TemporaryFolder folder;
  ToyRun run(folder.path() / "run");
  const auto frozen = run.task.model->frozen->weight.clone();
  const auto hidden = run.task.model->hidden->weight.clone();
  run.run();
  EXPECT_TRUE(at::equal(run.task.model->frozen->weight, frozen));
  EXPECT_FALSE(at::equal(run.task.model->hidden->weight, hidden));
  std::vector<std::string> names;
  for (const auto& [name, tensor] : load_run_checkpoint(run.output).parameters) names.push_back(name);
  EXPECT_THAT(names, ::testing::ElementsAre("hidden.bias", "hidden.weight", "output.bias", "output.weight"));
}

TEST(Trainer, SkipsAStepWhoseLossIsNotFinite) {
  const TemporaryFolder folder;
  ToyRun run(folder.path() / "run");
  NamedTensors before, after;
  run.task.is_broken = [](std::int64_t step) { return step == 4; };
  run.task.before_batch = [&](std::int64_t position) {
    for (const auto& [name, parameter] : trainable_parameters(*run.task.model)) {
      if (position == 8) before[name] = parameter.detach().clone();
      if (position == 10) after[name] = parameter.detach().clone();
    }
  };
  run.run();
  EXPECT_TRUE(same_bits(before, after));
  const auto log = log_of(run.output);
  ASSERT_EQ(log.size(), 20u);
  EXPECT_TRUE(log[4]["loss"].is_null());
  EXPECT_EQ(log[4]["skipped"], true);
  EXPECT_TRUE(log[5]["loss"].is_number());
  EXPECT_THAT(run.said.str(), HasSubstr("1 of 20 steps were skipped because a loss or gradient was not finite"));
  EXPECT_EQ(load_run_checkpoint(run.output).optimizer.at("hidden.weight.step").item<float>(), 19.0f);
}

TEST(Trainer, EndsWhenNoStepIsFiniteAnyMoreAndKeepsTheCheckpoint) {
  const TemporaryFolder folder;
  auto options = toy_options();
  options.max_skipped_steps = 3;
  ToyRun run(folder.path() / "run", options);
  run.task.is_broken = [](std::int64_t step) { return step >= 8; };
  EXPECT_USER_ERROR(
      run.run(),
      "a loss or gradient was not finite in 3 steps in a row, the last of them step 11: the checkpoint of "
      "step 6 is kept in '" +
          checkpoint_folder(run.output).string() + "'; look at the first batch ('" + run.output.string() +
          "/skipped/step-9*.safetensors'), lower 'learning_rate' or set 'max_grad_norm'");
  EXPECT_EQ(load_run_checkpoint(run.output).step, 6);
  EXPECT_TRUE(load_run_checkpoint(run.output).parameters.at("hidden.weight").isfinite().all().item<bool>());

  ToyRun early(folder.path() / "early", options);
  early.task.is_broken = [](std::int64_t) { return true; };
  EXPECT_USER_ERROR(early.run(), "no checkpoint was written yet");
}

TEST(Trainer, WritesTheBatchesOfTheFirstStepsAndOfSkippedOnes) {
  const TemporaryFolder folder;
  auto options = toy_options();
  options.record_steps = 2;
  options.accumulation_steps = 2;
  ToyRun run(folder.path() / "run", options);
  run.task.is_broken = [](std::int64_t step) { return step == 4 || step == 5; };
  std::vector<at::Tensor> inputs;
  run.task.seen = [&](const at::Tensor& input) { inputs.push_back(input); };
  const at::Tensor initial = run.task.model->hidden->weight.detach().clone();
  run.run();
  EXPECT_TRUE(torch::equal(load_safetensors(run.output / "recorded/initial.safetensors").at("hidden.weight"), initial));
  const auto batch = [&](const std::string& name) {
    return load_safetensors(run.output / (name + ".safetensors")).at("input");
  };
  EXPECT_TRUE(torch::equal(batch("recorded/step-1-0"), inputs[0]));
  EXPECT_TRUE(torch::equal(batch("recorded/step-1-1"), inputs[1]));
  EXPECT_TRUE(torch::equal(batch("recorded/step-2-1"), inputs[3]));
  EXPECT_FALSE(std::filesystem::exists(run.output / "recorded/step-3-0.safetensors"));
  EXPECT_TRUE(torch::equal(batch("skipped/step-5-0"), inputs[8]));
  EXPECT_FALSE(std::filesystem::exists(run.output / "skipped/step-6-0.safetensors"));  // the first of its row is enough
}

TEST(Trainer, ValidatesWithoutChangingWhatIsTrained) {
  const TemporaryFolder folder;
  auto options = toy_options();
  ToyRun(folder.path() / "a", options).run();
  options.validate_every = 7;
  ToyRun validated(folder.path() / "b", options);
  bool was_training = true;
  validated.task.on_validate = [&] { was_training = validated.task.model->is_training(); };
  validated.run();
  EXPECT_FALSE(was_training);
  EXPECT_TRUE(validated.task.model->is_training());
  EXPECT_TRUE(same_bits(load_run_checkpoint(folder.path() / "a").parameters,
                        load_run_checkpoint(folder.path() / "b").parameters));
  const auto log = log_of(validated.output);
  std::vector<std::int64_t> steps;
  for (const auto& line : log) {
    if (line.contains("validation")) steps.push_back(line["step"]);
  }
  EXPECT_THAT(steps, ::testing::ElementsAre(7, 14, 20));
  EXPECT_TRUE(log[6]["validation"]["noise"].is_number());
}

TEST(Trainer, RefusesToResumeWithAnotherConfig) {
  const TemporaryFolder folder;
  auto options = toy_options();
  ToyRun(folder.path(), options).run();
  options.schedule.learning_rate = 0.5;
  EXPECT_USER_ERROR(ToyRun(folder.path(), options).run(),
                    "was started with another config ('learning_rate' was 0.01 and is now 0.5): restore the old values "
                    "to resume it, choose another output folder, or start over with --fresh --overwrite");
  options = toy_options();
  options.log_every = 1;
  options.checkpoint_every = 2;
  EXPECT_EQ(ToyRun(folder.path(), options).run(), TrainResult::kFinished);
}

TEST(Trainer, ResumesARunFromBeforeThereWereSomeOptions) {
  const TemporaryFolder folder;
  ToyRun(folder.path()).run();
  const auto forget = [&](const char* name) {
    nlohmann::json config = load_run_config(folder.path());
    config.erase(name);
    std::ofstream(checkpoint_folder(folder.path()) / "config.json") << config;
  };
  forget("beta2");
  forget("precision");
  EXPECT_EQ(ToyRun(folder.path()).run(), TrainResult::kFinished);
  auto options = toy_options();
  options.optimizer.beta2 = 0.98;
  EXPECT_USER_ERROR(ToyRun(folder.path(), options).run(), "('beta2' was 0.999 and is now 0.98)");
}

TEST(Trainer, CheckpointingActivationsChangesNoBit) {
  const TemporaryFolder folder;
  ToyRun kept(folder.path() / "kept");
  kept.run();
  auto options = toy_options();
  options.activation_checkpointing = true;
  ToyRun again(folder.path() / "again", options);
  again.run();
  EXPECT_TRUE(same_run(kept.output, again.output));
  EXPECT_GT(again.task.model->runs, 3 * kept.task.model->runs / 2);
}

TEST(Trainer, HasNothingToDoWhereTheRunIsComplete) {
  const TemporaryFolder folder;
  ToyRun(folder.path()).run();
  ToyRun again(folder.path());
  again.task.before_batch = [](std::int64_t) { FAIL(); };
  EXPECT_EQ(again.run(), TrainResult::kFinished);
  EXPECT_EQ(log_of(folder.path()).size(), 20u);
}

TEST(Trainer, StartsOverOnlyWhenToldToOverwrite) {
  const TemporaryFolder folder;
  auto options = toy_options();
  ToyRun(folder.path() / "run", options).run();
  options.seed = 4;
  ToyRun fresh(folder.path() / "run", options);
  fresh.fresh = true;
  EXPECT_USER_ERROR(fresh.run(),
                    "already holds a run: leave --fresh out to resume it, add --overwrite to delete it, or choose "
                    "another output folder");
  fresh.overwrite = true;
  EXPECT_EQ(fresh.run(), TrainResult::kFinished);
  ToyRun(folder.path() / "reference", options).run();
  EXPECT_EQ(log_of(folder.path() / "run"), log_of(folder.path() / "reference"));
}

TEST(Trainer, RefusesAFolderInTheCheckpointsPlaceBeforeItTrains) {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder.path() / "checkpoint");
  std::ofstream(folder.path() / "checkpoint" / "thesis.txt") << "years of work";
  for (const bool fresh : {false, true}) {
    ToyRun run(folder.path());
    run.fresh = fresh;
    run.task.before_batch = [](std::int64_t) { FAIL(); };
    EXPECT_USER_ERROR(run.run(), "will not replace the folder '" + checkpoint_folder(folder.path()).string() + "'");
    EXPECT_TRUE(std::filesystem::exists(folder.path() / "checkpoint" / "thesis.txt"));
  }
}

TEST(Trainer, RefusesAFolderThatAnotherProcessTrainsIn) {
  const TemporaryFolder folder;
  ToyRun first(folder.path()), second(folder.path());
  second.fresh = second.overwrite = true;
  first.task.before_batch = [&](std::int64_t position) {
    if (position != 14) return;  // there is a checkpoint by now
    EXPECT_USER_ERROR(second.run(), "another process is training in '" + folder.path().string() +
                                        "': wait for its end or stop it, or choose another output folder");
  };
  EXPECT_EQ(first.run(), TrainResult::kFinished);
  EXPECT_EQ(log_of(folder.path()).size(), 20u);
  EXPECT_EQ(load_run_checkpoint(folder.path()).step, 20);
  EXPECT_EQ(second.run(), TrainResult::kFinished);
}

TEST(Trainer, StartingOverRemovesTheTokenizerOfARunAndOfNothingElse) {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder.path() / "tokenizer");
  ToyRun run(folder.path());
  run.fresh = true;
  run.run();
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "tokenizer"));
  run.overwrite = true;
  run.run();
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "tokenizer"));
}

TEST(Trainer, RefusesTheCheckpointOfAnotherModel) {
  const TemporaryFolder folder;
  ToyRun(folder.path()).run();
  ToyRun other(folder.path());
  other.task.model->frozen->bias.requires_grad_(true);
  EXPECT_USER_ERROR(other.run(),
                    "does not fit the model ('frozen.bias' is missing): it was saved from a different model");
}

TEST(Trainer, RefusesOptionsThatCannotWork) {
  const TemporaryFolder folder;
  const auto refuse = [&](const std::function<void(TrainerOptions&)>& change, const char* sentence) {
    auto options = toy_options();
    change(options);
    EXPECT_USER_ERROR(ToyRun(folder.path(), options).run(), sentence);
  };
  refuse([](auto& options) { options.steps = 0; }, "'steps' must be at least 1, found 0");
  refuse([](auto& options) { options.accumulation_steps = 0; }, "'accumulation_steps' must be at least 1, found 0");
  refuse([](auto& options) { options.precision = "half"; },
         "unknown precision 'half', expected float32, bfloat16 or float16");
  refuse([](auto& options) { options.max_grad_norm = NAN; }, "'max_grad_norm' must be 0 or more, found nan");
  refuse([](auto& options) { options.schedule.schedule = "lavis_epoch_cosine"; },
         "schedule 'lavis_epoch_cosine' needs data with epochs");
  ToyRun frozen(folder.path());
  for (auto& parameter : frozen.task.model->parameters()) parameter.requires_grad_(false);
  EXPECT_USER_ERROR(frozen.run(), "nothing to train: every parameter of the model is frozen");
}

}  // namespace
}  // namespace blip2
