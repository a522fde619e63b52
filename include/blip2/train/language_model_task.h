// Training a small OPT from scratch on text alone, for where no language model can be had (the demo). It is frozen in
// stage 2 like a published one.
#pragma once

#include <memory>
#include <vector>

#include "blip2/lm/language_model_options.h"
#include "blip2/models/run_folder.h"
#include "blip2/train/train_task.h"
#include "blip2/train/trainer.h"

namespace blip2 {

/** Run config of `train_language_model`. */
struct LanguageModelTaskOptions {
  LanguageModelOptions text_config;
  struct Text {
    std::string file;                    // one text per line
    std::string tokenizer;               // folder; empty: a byte-level BPE is trained on the file
    std::int64_t vocabulary_size = 512;  // of that BPE
    std::int64_t sequence_length = 64;   // texts are packed into rows of this many tokens
    std::int64_t repeats = 1;            // how often a text follows itself in a row, as captions of one picture do
    std::int64_t batch_size = 64;        // rows a step
  } text;
  TrainerOptions train;
};

void visit_fields(FieldVisitor& visitor, LanguageModelTaskOptions& options);

class LanguageModelTask final : public TrainTask {
 public:
  /** Reads the text, trains or loads the tokenizer, builds the model. Throws UserError. */
  explicit LanguageModelTask(const LanguageModelTaskOptions& options);

  torch::nn::Module& module() override { return model_->module(); }
  std::int64_t next_batch(std::int64_t position) override;
  StepLosses add_gradients(std::int64_t step, double scale) override;
  std::string sample_unit() const override { return "rows"; }

  const Tokenizer& tokenizer() const { return *tokenizer_; }
  /** The options with vocabulary size and end token filled in. */
  const LanguageModelTaskOptions& options() const { return options_; }

 private:
  LanguageModelTaskOptions options_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::vector<std::vector<std::int64_t>> texts_;  // </s> words newline
  std::shared_ptr<LanguageModel> model_;
  at::Tensor rows_;  // [B, sequence_length] of the fetched batch
};

}  // namespace blip2
