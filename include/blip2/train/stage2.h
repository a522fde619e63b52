// Stage 2 as a task for the trainer: the frozen language model learns nothing, the Q-Former learns to speak to it
// (paper section 3.2). OPT continues the picture's tokens; FlanT5 reads them with the first part of the caption and
// writes the rest (prefix language modelling); where there is a prompt, it reads that and writes the whole caption.
#pragma once

#include <memory>

#include "blip2/models/run_folder.h"
#include "blip2/train/feature_cache.h"
#include "blip2/train/run_options.h"
#include "blip2/train/train_task.h"
#include "blip2/train/trainer.h"

namespace blip2 {

/** Run config of `train_stage2`. The model's sizes come with the folders that it names. */
struct Stage2Options {
  std::string stage1;          // run folder of train_stage1
  std::string language_model;  // run folder of train_language_model, or an OPT or T5 folder

  struct Initialization {
    /**
     * Deviation of the projection's first weights (its bias is then 0). 0: uniform in +-1/sqrt(width), as LAVIS. A soft
     * prompt on the scale of the language model's token embeddings is heard sooner.
     */
    double projection_std = 0;
  } initialization;

  /** What LAVIS does and is not done here unasked. */
  struct Loss {
    bool language_model_dropout = false;  // the frozen language model drops out in training
    bool train_on_beginning = false;      // OPT without a prompt: the beginning token is a target too
  } loss;
  TextOptions text;
  DataOptions data;
  TrainerOptions train;
};

void visit_fields(FieldVisitor& visitor, Stage2Options& options);

class Stage2Task final : public TrainTask {
 public:
  /** Joins the parts, freezes vision and language model, opens the data. Throws UserError. */
  explicit Stage2Task(const Stage2Options& options);

  torch::nn::Module& module() override { return *model_.model; }
  std::int64_t next_batch(std::int64_t position) override;
  StepLosses add_gradients(std::int64_t step, double scale) override;
  /** `pixels` or `tower_output`, `input_ids`, `attention_mask` and `labels`. */
  NamedTensors inspect_batch() const override { return inspected_; }
  /** Language-model loss on the validation pictures. */
  Metrics validate(std::int64_t step) override;
  std::int64_t batches_per_epoch() const override { return loader_->batches_per_epoch(); }
  std::int64_t unreadable_samples() const override { return static_cast<std::int64_t>(loader_->skipped().size()); }

  const Stage2Options& options() const { return options_; }
  /** Where the frozen parts came from, for the run's config. */
  const ModelOrigin& stage1_origin() const { return stage1_origin_; }
  const ModelOrigin& language_model_origin() const { return language_model_origin_; }

 private:
  GenerationBatch to_device(const Batch& batch, std::int64_t position) const;
  GenerationBatch continuation_batch(const std::vector<std::string>& captions) const;
  GenerationBatch prefix_batch(const std::vector<std::string>& captions, std::int64_t position) const;

  Stage2Options options_;
  ModelOrigin stage1_origin_, language_model_origin_;
  GeneratorModel model_;
  std::unique_ptr<FeatureCache> cache_;  // null: pictures are encoded in every step
  std::unique_ptr<Loader> loader_, validation_;
  Batch batch_;
  std::int64_t position_ = 0;
  NamedTensors inspected_;
};

}  // namespace blip2
