#include "blip2/train/language_model_task.h"

#include <torch/torch.h>

#include "blip2/core/error.h"
#include "blip2/core/random.h"
#include "blip2/core/read_file.h"
#include "blip2/text/bpe_training.h"
#include "blip2/text/load_tokenizer.h"

namespace blip2 {
namespace {

std::vector<std::string> read_lines(const std::string& file) {
  if (file.empty()) throw UserError("text.file names no file");
  std::ifstream stream = open_file(file);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) {
    if (!line.empty()) lines.push_back(line);
  }
  if (lines.empty()) throw UserError("text.file '" + file + "' holds no text");
  return lines;
}

}  // namespace

void visit_fields(FieldVisitor& visitor, LanguageModelTaskOptions::Text& options) {
  visitor.field("file", options.file);
  visitor.field("tokenizer", options.tokenizer);
  visitor.field("vocabulary_size", options.vocabulary_size);
  visitor.field("sequence_length", options.sequence_length);
  visitor.field("repeats", options.repeats);
  visitor.field("batch_size", options.batch_size);
}

void visit_fields(FieldVisitor& visitor, LanguageModelTaskOptions& options) {
  visitor.nested("text_config", options.text_config);
  visitor.nested("text", options.text);
  visitor.nested("train", options.train);
}

LanguageModelTask::LanguageModelTask(const LanguageModelTaskOptions& options) : options_(options) {
  if (options_.text_config.model_type != "opt") {
    throw UserError("text_config.model_type is '" + options_.text_config.model_type +
                    "': only opt is trained on text alone");
  }
  auto& opt = options_.text_config.opt;
  const auto& text = options_.text;
  if (text.sequence_length < 2 || text.sequence_length > opt.max_position_embeddings) {
    throw UserError("text.sequence_length is " + std::to_string(text.sequence_length) + ", expected 2 to " +
                    std::to_string(opt.max_position_embeddings) + " (text_config.max_position_embeddings)");
  }
  if (text.batch_size < 1 || text.repeats < 1) throw UserError("text.batch_size and text.repeats must be at least 1");
  torch::manual_seed(static_cast<std::uint64_t>(options_.train.seed));
  const std::vector<std::string> lines = read_lines(text.file);
  tokenizer_ = text.tokenizer.empty() ? make_byte_bpe(train_byte_bpe(lines, text.vocabulary_size))
                                      : load_tokenizer(text.tokenizer);
  for (const auto& line : lines) texts_.push_back(tokenizer_->encode(line + "\n"));
  opt.vocab_size = tokenizer_->vocabulary_size();
  opt.pad_token_id = tokenizer_->padding_id();
  opt.bos_token_id = texts_.front().front();
  opt.eos_token_id = texts_.front().back();
  model_ = make_language_model(options_.text_config);
}

std::int64_t LanguageModelTask::next_batch(std::int64_t position) {
  const auto& text = options_.text;
  rows_ = torch::empty({text.batch_size, text.sequence_length}, torch::kLong);
  for (std::int64_t row = 0; row < text.batch_size; ++row) {
    Random random({static_cast<std::uint64_t>(options_.train.seed), static_cast<std::uint64_t>(position),
                   static_cast<std::uint64_t>(row)});
    std::vector<std::int64_t> ids;
    while (static_cast<std::int64_t>(ids.size()) < text.sequence_length) {
      const auto& chosen = texts_[static_cast<std::size_t>(random.below(static_cast<std::int64_t>(texts_.size())))];
      const std::int64_t times = 1 + random.below(text.repeats);
      for (std::int64_t i = 0; i < times; ++i) ids.insert(ids.end(), chosen.begin(), chosen.end());
    }
    ids.resize(static_cast<std::size_t>(text.sequence_length));
    rows_[row].copy_(torch::tensor(ids, torch::kLong));
  }
  return text.batch_size;
}

StepLosses LanguageModelTask::add_gradients(std::int64_t, double scale) {
  return differentiated({model_->loss({model_->embed(rows_), torch::ones_like(rows_)}, rows_), {}}, scale);
}

}  // namespace blip2
