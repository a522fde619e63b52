// Stage 1 as a task for the trainer: pictures and captions in, the three losses out (paper section 3.1).
#pragma once

#include <memory>
#include <optional>

#include "blip2/models/blip2_qformer.h"
#include "blip2/models/run_folder.h"
#include "blip2/train/feature_cache.h"
#include "blip2/train/run_options.h"
#include "blip2/train/train_task.h"
#include "blip2/train/trainer.h"

namespace blip2 {

/** Run config of `train_stage1`. */
struct Stage1Options {
  Blip2Options model;

  struct Vision {
    std::string weights;  // model or run folder with `vision_model.*`; empty: random
    bool frozen = true;   // false for fine-tuning, or where no trained encoder can be had
    /** Learning rate of an encoder that learns along, from each layer to the one before it (train/layer_decay.h). */
    double layer_decay = 1.0;
  } vision;

  struct Initialization {
    std::string bert;                // BERT folder in Hugging Face format; empty: random
    bool add_token_type_row = true;  // false: drop BERT's token-type embedding, as LAVIS does
  } initialization;

  struct Loss {
    double label_smoothing = 0.1;
    std::string negative_rule = "mask_then_softmax";  // or "softmax_then_mask" (LAVIS before July 2023)
    /**
     * Which texts of a batch fit a picture: its "own" alone, those of the "same_image" (by image id), or those of the
     * "same_image_or_caption". What fits is never a negative.
     */
    std::string positives = "same_image";
  } loss;

  TextOptions text;
  DataOptions data;
  TrainerOptions train;
};

void visit_fields(FieldVisitor& visitor, Stage1Options& options);

class Stage1Task final : public TrainTask {
 public:
  /**
   * Builds the model (its vocabulary is the tokenizer's), loads what the config names and opens the data. Seeds torch
   * first, so that random weights depend on `train.seed` alone. Throws UserError for whatever the config has wrong.
   */
  explicit Stage1Task(const Stage1Options& options);

  torch::nn::Module& module() override { return *model_; }
  std::int64_t next_batch(std::int64_t position) override;
  StepLosses add_gradients(std::int64_t step, double scale) override;
  double learning_rate_scale(const std::string& name) const override;
  /** `pixels` or `tower_output`, `input_ids`, `attention_mask`, `image_ids` where texts share pictures, negatives. */
  NamedTensors inspect_batch() const override;
  /** Losses on the validation pictures and recall at 1 by contrast, both directions. */
  Metrics validate(std::int64_t step) override;
  std::int64_t batches_per_epoch() const override { return loader_->batches_per_epoch(); }
  std::int64_t unreadable_samples() const override { return static_cast<std::int64_t>(loader_->skipped().size()); }

  Blip2QFormer model() const { return model_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  /** The options with sizes filled in that follow from the tokenizer. */
  const Stage1Options& options() const { return options_; }
  /** Where a frozen image encoder came from, for the run's config; none where the encoder learns along. */
  const std::optional<ModelOrigin>& vision_origin() const { return vision_origin_; }

 private:
  std::vector<std::int64_t> positive_ids(const Batch& batch) const;
  RepresentationBatch to_device(const Batch& batch) const;
  RepresentationBatch training_batch();
  void load_initial_weights();

  Stage1Options options_;
  std::optional<ModelOrigin> vision_origin_;
  std::unique_ptr<Tokenizer> tokenizer_;
  Blip2QFormer model_{nullptr};
  RepresentationOptions representation_;
  std::unique_ptr<FeatureCache> cache_;  // null: pictures are encoded in every step
  std::unique_ptr<Loader> loader_, validation_;
  AdamW::LearningRateScale layer_decay_;
  Batch batch_;
  NamedTensors inspected_;
};

}  // namespace blip2
