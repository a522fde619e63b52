#include "blip2/train/stage2.h"

#include <torch/torch.h>

#include "blip2/core/error.h"
#include "blip2/models/prefix_split.h"
#include "core/in_quotes.h"

namespace blip2 {
namespace {

/** Rows of ids, padded right to the longest. */
TextTokens pad_rows(const std::vector<TokenIds>& rows, std::int64_t padding_id) {
  std::size_t longest = 1;
  for (const auto& row : rows) longest = std::max(longest, row.size());
  const std::vector<std::int64_t> shape = {static_cast<std::int64_t>(rows.size()), static_cast<std::int64_t>(longest)};
  TextTokens tokens{torch::full(shape, padding_id, torch::kLong), torch::zeros(shape, torch::kLong)};
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto row = static_cast<std::int64_t>(i), length = static_cast<std::int64_t>(rows[i].size());
    if (length == 0) continue;
    tokens.ids[row].narrow(0, 0, length).copy_(torch::tensor(rows[i], torch::kLong));
    tokens.mask[row].narrow(0, 0, length).fill_(1);
  }
  return tokens;
}

/** Tokens in front of a caption that OPT continues; they are not trained on. */
std::int64_t prompt_length(const Tokenizer& tokenizer, const std::string& prompt) {
  return prompt.empty() ? tokenizer.prefix_length() : static_cast<std::int64_t>(tokenizer.encode(prompt).size());
}

/** Throws UserError where nothing but OPT's beginning token without a prompt could be meant. */
void check_train_on_beginning(const Stage2Options& options, const Tokenizer& tokenizer, bool is_encoder_decoder) {
  const auto refuse = [](const std::string& why) {
    throw UserError("loss.train_on_beginning is true, but " + why + "; set it to false");
  };
  if (is_encoder_decoder) refuse("an encoder-decoder's answers have no beginning token");
  if (tokenizer.prefix_length() == 0) refuse("this language model's texts have no beginning token");
  if (!options.text.prompt.empty()) refuse("the beginning token of a text.prompt is not trained on, in LAVIS neither");
}

/** Throws UserError where OPT would be trained on no word of a caption, or T5's encoder would read too much. */
void check_prompt(const TextOptions& text, const Tokenizer& tokenizer, bool is_encoder_decoder) {
  const std::string limit = "text.max_length " + std::to_string(text.max_length);
  if (is_encoder_decoder) {
    const auto length = static_cast<std::int64_t>(tokenizer.encode(text.prompt).size());
    if (length <= text.max_length) return;
    throw UserError(limit + " is less than the " + std::to_string(length) +
                    " tokens of text.prompt; raise it or shorten the prompt");
  }
  const std::int64_t length = prompt_length(tokenizer, text.prompt);
  if (length < text.max_length) return;
  throw UserError(limit + " leaves no room for a caption behind the " + std::to_string(length) +
                  " tokens of its beginning and text.prompt; raise it or shorten the prompt");
}

}  // namespace

void visit_fields(FieldVisitor& visitor, Stage2Options::Initialization& options) {
  visitor.field("projection_std", options.projection_std);
}

void visit_fields(FieldVisitor& visitor, Stage2Options::Loss& options) {
  visitor.field("language_model_dropout", options.language_model_dropout);
  visitor.field("train_on_beginning", options.train_on_beginning);
}

void visit_fields(FieldVisitor& visitor, Stage2Options& options) {
  visitor.field("stage1", options.stage1);
  visitor.field("language_model", options.language_model);
  visitor.nested("initialization", options.initialization);
  visitor.nested("loss", options.loss);
  visitor.nested("text", options.text);
  visitor.nested("data", options.data);
  visitor.nested("train", options.train);
}

Stage2Task::Stage2Task(const Stage2Options& options) : options_(options) {
  if (options_.stage1.empty()) throw UserError("stage1 names no folder: train stage 1 first and name its output");
  if (options_.language_model.empty()) {
    throw UserError(
        "language_model names no folder: name an OPT or FlanT5 folder or the output of train_language_model");
  }
  check_options(options_.train);
  check_text(options_.text);
  if (!options_.text.tokenizer.empty()) {
    throw UserError("text.tokenizer is " + in_quotes(options_.text.tokenizer) +
                    ", but stage 2 reads captions with the language model's own; leave text.tokenizer empty");
  }
  torch::manual_seed(static_cast<std::uint64_t>(options_.train.seed));
  stage1_origin_ = describe_origin(options_.stage1);
  language_model_origin_ = describe_origin(options_.language_model);
  // Frozen parts stay as half-precision files hold them: the same products in half the memory.
  model_ = join_for_stage2(options_.stage1, options_.language_model, WeightFormat::kAsStored);
  if (const double deviation = options_.initialization.projection_std; deviation > 0) {
    const torch::NoGradGuard no_grad;
    torch::nn::init::normal_(model_.model->language_projection->weight, 0.0, deviation);
    torch::nn::init::zeros_(model_.model->language_projection->bias);
  }
  model_.model->freeze(options_.loss.language_model_dropout);
  const LanguageModel& language_model = *model_.model->language_model;
  if (language_model.is_encoder_decoder() && options_.train.precision == "float16") {
    throw UserError("train.precision is float16, in which T5 overflows; choose bfloat16 or float32");
  }
  if (options_.loss.train_on_beginning) {
    check_train_on_beginning(options_, *model_.tokenizer, language_model.is_encoder_decoder());
  }
  check_prompt(options_.text, *model_.tokenizer, language_model.is_encoder_decoder());
  const std::int64_t queries = model_.model->options().num_query_tokens;
  if (!language_model.is_encoder_decoder() && queries + options_.text.max_length > language_model.max_positions()) {
    throw UserError("text.max_length " + std::to_string(options_.text.max_length) + " and the " +
                    std::to_string(queries) + " query tokens exceed the language model's " +
                    std::to_string(language_model.max_positions()) + " positions; lower text.max_length");
  }
  const std::int64_t image_size = model_.model->options().vision_config.image_size;
  const auto source = make_training_source(options_.data, image_size);
  cache_ =
      make_feature_cache(options_.data, model_.model->options().vision_config, stage1_origin_, options_.train, *source);
  loader_ = make_training_loader(source, options_.data, options_.train.seed);
  validation_ = make_validation_loader(options_.data, image_size);
}

GenerationBatch Stage2Task::continuation_batch(const std::vector<std::string>& captions) const {
  // The newline ends a caption, as LAVIS trains OPT (4.2).
  const std::string prompt = options_.text.prompt.empty() ? "" : options_.text.prompt + " ";
  std::vector<std::string> texts;
  for (const auto& caption : captions) texts.push_back(prompt + caption + "\n");
  BatchOptions text;
  text.max_length = options_.text.max_length;
  GenerationBatch batch;
  batch.text = tokenize(*model_.tokenizer, texts, text);
  // The beginning token of a prompt is not trained on, nor is that of a text without one, which would teach nothing.
  const bool everything = options_.loss.train_on_beginning && options_.text.prompt.empty();
  batch.labels =
      continuation_labels(batch.text, everything ? 0 : prompt_length(*model_.tokenizer, options_.text.prompt));
  return batch;
}

GenerationBatch Stage2Task::prefix_batch(const std::vector<std::string>& captions, std::int64_t position) const {
  const SpecialIds special = model_.model->language_model->special_ids();
  TokenIds prompt;
  if (!options_.text.prompt.empty()) prompt = model_.tokenizer->encode(options_.text.prompt);
  std::vector<TokenIds> inputs, outputs;
  for (std::size_t i = 0; i < captions.size(); ++i) {
    TokenIds ids = model_.tokenizer->encode(captions[i], /*add_special_tokens=*/false);
    ids.resize(std::min<std::size_t>(ids.size(), static_cast<std::size_t>(options_.text.max_length - 1)));
    if (!prompt.empty()) {
      inputs.push_back(prompt);
      outputs.push_back(std::move(ids));
      outputs.back().push_back(special.end);
      continue;
    }
    Random random({static_cast<std::uint64_t>(options_.train.seed), static_cast<std::uint64_t>(position), i});
    auto [prefix, suffix] = split_prefix(ids, random);
    prefix.push_back(special.end);
    suffix.push_back(special.end);
    inputs.push_back(std::move(prefix));
    outputs.push_back(std::move(suffix));
  }
  GenerationBatch batch;
  batch.text = pad_rows(inputs, special.padding);
  const TextTokens targets = pad_rows(outputs, special.padding);
  batch.labels = targets.ids.masked_fill(targets.mask.eq(0), -100);
  return batch;
}

GenerationBatch Stage2Task::to_device(const Batch& loaded, std::int64_t position) const {
  const bool encoder_decoder = model_.model->language_model->is_encoder_decoder();
  GenerationBatch batch =
      encoder_decoder ? prefix_batch(loaded.captions, position) : continuation_batch(loaded.captions);
  batch.pixels = loaded.pixels;
  return batch;
}

std::int64_t Stage2Task::next_batch(std::int64_t position) {
  loader_->seek(position);
  batch_ = loader_->next();
  position_ = position;
  return batch_.size();
}

StepLosses Stage2Task::add_gradients(std::int64_t, double scale) {
  GenerationBatch batch = to_device(batch_, position_);
  if (cache_ != nullptr) batch.tower_output = cache_->features(*model_.model->vision_model, batch_);
  inspected_ = {{cache_ == nullptr ? "pixels" : "tower_output", cache_ == nullptr ? batch.pixels : batch.tower_output},
                {"input_ids", batch.text.ids},
                {"attention_mask", batch.text.mask},
                {"labels", batch.labels}};
  return differentiated({model_.model->loss(batch), {}}, scale);
}

Metrics Stage2Task::validate(std::int64_t) {
  if (validation_ == nullptr) return {};
  double total = 0;
  std::int64_t batches = 0;
  validation_->seek(0);
  for (std::int64_t i = 0; i < validation_->batches_per_epoch(); ++i) {
    const Batch loaded = validation_->next();
    if (loaded.size() == 0) continue;  // none of its pictures can be read
    ++batches;
    total += model_.model->loss(to_device(loaded, i)).item<double>();
  }
  return {{"loss", total / static_cast<double>(batches)}};
}

}  // namespace blip2
