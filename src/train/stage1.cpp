#include "blip2/train/stage1.h"

#include <torch/torch.h>

#include <map>

#include "blip2/core/error.h"
#include "blip2/eval/retrieval.h"
#include "blip2/losses/image_text_contrastive.h"
#include "blip2/models/bert.h"
#include "blip2/models/run_folder.h"
#include "blip2/text/load_tokenizer.h"
#include "blip2/train/layer_decay.h"

namespace blip2 {
namespace {

NegativeRule negative_rule(const std::string& name) {
  if (name == "mask_then_softmax") return NegativeRule::kMaskThenSoftmax;
  if (name == "softmax_then_mask") return NegativeRule::kSoftmaxThenMask;
  throw UserError("loss.negative_rule is '" + name + "', expected mask_then_softmax or softmax_then_mask");
}

}  // namespace

void visit_fields(FieldVisitor& visitor, Stage1Options::Vision& options) {
  visitor.field("weights", options.weights);
  visitor.field("frozen", options.frozen);
  visitor.field("layer_decay", options.layer_decay);
}

void visit_fields(FieldVisitor& visitor, Stage1Options::Initialization& options) {
  visitor.field("bert", options.bert);
  visitor.field("add_token_type_row", options.add_token_type_row);
}

void visit_fields(FieldVisitor& visitor, Stage1Options::Loss& options) {
  visitor.field("label_smoothing", options.label_smoothing);
  visitor.field("negative_rule", options.negative_rule);
  visitor.field("positives", options.positives);
}

void visit_fields(FieldVisitor& visitor, Stage1Options& options) {
  visitor.nested("model", options.model);
  visitor.nested("vision", options.vision);
  visitor.nested("initialization", options.initialization);
  visitor.nested("loss", options.loss);
  visitor.nested("text", options.text);
  visitor.nested("data", options.data);
  visitor.nested("train", options.train);
}

Stage1Task::Stage1Task(const Stage1Options& options) : options_(options) {
  if (options_.vision.frozen && options_.vision.weights.empty()) {
    throw UserError(
        "vision.frozen is true, but vision.weights names no folder: a random image encoder must not be "
        "frozen; name one or set vision.frozen=false");
  }
  if (options_.vision.frozen && options_.vision.layer_decay != 1.0) {
    throw UserError("vision.layer_decay is set, but the image encoder is frozen: set vision.frozen=false to train it");
  }
  const auto& positives = options_.loss.positives;
  if (positives != "own" && positives != "same_image" && positives != "same_image_or_caption") {
    throw UserError("loss.positives is '" + positives + "', expected own, same_image or same_image_or_caption");
  }
  if (options_.text.tokenizer.empty()) {
    throw UserError("text.tokenizer names no folder: name one with vocab.txt, which build_vocabulary makes");
  }
  check_options(options_.train);
  check_text(options_.text);
  torch::manual_seed(static_cast<std::uint64_t>(options_.train.seed));
  tokenizer_ = load_tokenizer(options_.text.tokenizer);
  const auto decoder_start_id = tokenizer_->find("[DEC]");
  if (!decoder_start_id) {
    throw UserError("text.tokenizer '" + options_.text.tokenizer +
                    "' is no WordPiece vocabulary, which the Q-Former reads");
  }
  options_.model.qformer_config.vocab_size = tokenizer_->vocabulary_size();
  options_.model.qformer_config.use_qformer_text_input = true;
  representation_.label_smoothing = options_.loss.label_smoothing;
  representation_.negative_rule = negative_rule(options_.loss.negative_rule);
  representation_.decoder_start_id = *decoder_start_id;
  resolve(options_.model);
  if (options_.text.max_length > options_.model.qformer_config.max_position_embeddings) {
    throw UserError("text.max_length " + std::to_string(options_.text.max_length) +
                    " exceeds model.qformer_config.max_position_embeddings " +
                    std::to_string(options_.model.qformer_config.max_position_embeddings));
  }
  const std::int64_t image_size = options_.model.vision_config.image_size;
  layer_decay_ = vision_layer_decay(options_.model.vision_config, options_.vision.layer_decay);
  const auto source = make_training_source(options_.data, image_size);
  validation_ = make_validation_loader(options_.data, image_size);
  model_ = Blip2QFormer(options_.model);
  load_initial_weights();
  cache_ = make_feature_cache(options_.data, options_.model.vision_config, vision_origin_, options_.train, *source);
  loader_ = make_training_loader(source, options_.data, options_.train.seed);
}

void Stage1Task::load_initial_weights() {
  if (!options_.initialization.bert.empty()) {
    load_bert(*model_, options_.initialization.bert,
              options_.initialization.add_token_type_row ? TokenTypeRow::kAddToPositions : TokenTypeRow::kDrop);
  }
  if (!options_.vision.weights.empty()) {
    // A frozen encoder reads half-precision files as they are: the same products in half the memory.
    load_vision_tower(*model_->vision_model, options_.vision.weights,
                      options_.vision.frozen ? WeightFormat::kAsStored : WeightFormat::kFloat32);
  }
  if (options_.vision.frozen) {
    vision_origin_ = describe_origin(options_.vision.weights);
    model_->vision_model->freeze();
  }
}

std::vector<std::int64_t> Stage1Task::positive_ids(const Batch& batch) const {
  if (options_.loss.positives == "own") return {};
  if (options_.loss.positives == "same_image") return batch.image_ids;
  std::map<std::string, std::int64_t> first;  // the picture that a caption was first met with
  std::vector<std::int64_t> ids;
  for (std::size_t i = 0; i < batch.captions.size(); ++i) {
    ids.push_back(first.emplace(batch.captions[i], batch.image_ids[i]).first->second);
  }
  return ids;
}

RepresentationBatch Stage1Task::to_device(const Batch& batch) const {
  RepresentationBatch result;
  result.pixels = batch.pixels;
  BatchOptions text;
  text.max_length = options_.text.max_length;
  result.text = tokenize(*tokenizer_, batch.captions, text);
  const std::vector<std::int64_t> ids = positive_ids(batch);
  if (!ids.empty()) result.image_ids = torch::tensor(ids, torch::kLong);
  return result;
}

RepresentationBatch Stage1Task::training_batch() {
  RepresentationBatch batch = to_device(batch_);
  if (cache_ != nullptr) batch.tower_output = cache_->features(*model_->vision_model, batch_);
  return batch;
}

std::int64_t Stage1Task::next_batch(std::int64_t position) {
  loader_->seek(position);
  batch_ = loader_->next();
  return batch_.size();
}

StepLosses Stage1Task::add_gradients(std::int64_t, double scale) {
  const RepresentationBatch batch = training_batch();
  const RepresentationLosses losses = model_->add_gradients(batch, representation_, single_process_group(), scale);
  inspected_ = {{cache_ == nullptr ? "pixels" : "tower_output", cache_ == nullptr ? batch.pixels : batch.tower_output},
                {"input_ids", batch.text.ids},
                {"attention_mask", batch.text.mask},
                {"negative_image_rows", losses.negatives.image_rows},
                {"negative_text_rows", losses.negatives.text_rows}};
  if (batch.image_ids.defined()) inspected_["image_ids"] = batch.image_ids;
  return {losses.total,
          {{"contrastive", losses.contrastive}, {"matching", losses.matching}, {"generation", losses.generation}}};
}

double Stage1Task::learning_rate_scale(const std::string& name) const {
  return layer_decay_(name);
}

NamedTensors Stage1Task::inspect_batch() const {
  return inspected_;
}

Metrics Stage1Task::validate(std::int64_t) {
  if (validation_ == nullptr) return {};
  std::vector<at::Tensor> image_features, text_features;
  std::vector<std::int64_t> image_ids;
  double total = 0;
  std::int64_t batches = 0;
  validation_->seek(0);
  for (std::int64_t i = 0; i < validation_->batches_per_epoch(); ++i) {
    const Batch loaded = validation_->next();
    if (loaded.size() == 0) continue;  // none of its pictures can be read
    ++batches;
    const RepresentationBatch batch = to_device(loaded);
    total += model_->losses(batch, representation_, single_process_group()).total.item<double>();
    image_features.push_back(model_->image_features(model_->encode_image(batch.pixels).query_output));
    text_features.push_back(model_->text_features(model_->encode_text(batch.text)));
    image_ids.insert(image_ids.end(), loaded.image_ids.begin(), loaded.image_ids.end());
  }
  const at::Tensor similarities = best_query_similarity(torch::cat(image_features), torch::cat(text_features));
  const RetrievalScores scores = retrieval_scores(similarities, image_ids, image_ids);
  return {{"loss", total / static_cast<double>(batches)},
          {"image_to_text_recall_at_1", scores.image_to_text.recall_at_1},
          {"text_to_image_recall_at_1", scores.text_to_image.recall_at_1}};
}

}  // namespace blip2
