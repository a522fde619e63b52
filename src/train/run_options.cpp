#include "blip2/train/run_options.h"

#include <algorithm>
#include <iostream>

#include "blip2/core/error.h"

namespace blip2 {
namespace {

/** The lists one after the other; pictures of different files keep different ids. */
std::vector<Annotation> load_all(const std::vector<std::string>& files) {
  std::vector<Annotation> all;
  std::int64_t first_free = 0;
  for (const auto& file : files) {
    std::int64_t largest = first_free;
    for (Annotation& annotation : load_annotations(file)) {
      annotation.image_id += first_free;
      largest = std::max(largest, annotation.image_id + 1);
      all.push_back(std::move(annotation));
    }
    first_free = largest;
  }
  return all;
}

std::unique_ptr<Loader> make_loader(const DataOptions& options, const std::vector<std::string>& files,
                                    TransformKind kind, const LoaderOptions& loader) {
  auto source = std::make_shared<CaptionSource>(load_all(files), options.transform, kind, options.cache_megabytes);
  return std::make_unique<Loader>(std::move(source), loader, [](const SkippedSample& sample) {
    std::cerr << "skipped sample " << sample.index << ", '" << sample.name << "': " << sample.reason << std::endl;
  });
}

void check_size(const DataOptions& options, std::int64_t image_size) {
  if (options.transform.image_size == image_size) return;
  throw UserError("data.transform.image_size is " + std::to_string(options.transform.image_size) +
                  ", but the image encoder reads pictures of " + std::to_string(image_size) +
                  " pixels; make them equal");
}

}  // namespace

void visit_fields(FieldVisitor& visitor, DataOptions& options) {
  visitor.field("train", options.train);
  visitor.field("validation", options.validation);
  visitor.nested("transform", options.transform);
  visitor.field("batch_size", options.loader.batch_size);
  visitor.field("workers", options.loader.workers);
  visitor.field("prefetch_batches", options.loader.prefetch_batches);
  visitor.field("cache_megabytes", options.cache_megabytes);
}

void visit_fields(FieldVisitor& visitor, TextOptions& options) {
  visitor.field("tokenizer", options.tokenizer);
  visitor.field("max_length", options.max_length);
  visitor.field("prompt", options.prompt);
}

std::unique_ptr<Loader> make_training_loader(const DataOptions& options, std::int64_t image_size, std::int64_t seed) {
  check_size(options, image_size);
  if (options.train.empty()) throw UserError("data.train names no annotation file");
  LoaderOptions loader = options.loader;
  loader.seed = seed;
  loader.shuffle = true;
  return make_loader(options, options.train, TransformKind::kTraining, loader);
}

std::unique_ptr<Loader> make_validation_loader(const DataOptions& options, std::int64_t image_size) {
  check_size(options, image_size);
  if (options.validation.empty()) return nullptr;
  LoaderOptions loader = options.loader;
  loader.shuffle = false;
  return make_loader(options, {options.validation}, TransformKind::kEvaluation, loader);
}

}  // namespace blip2
