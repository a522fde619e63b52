#include "blip2/train/run_options.h"

#include <algorithm>
#include <iostream>
#include <set>

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

std::shared_ptr<CaptionSource> make_source(const DataOptions& options, const std::vector<std::string>& files,
                                           TransformKind kind) {
  return std::make_shared<CaptionSource>(load_all(files), options.transform, kind, options.cache_megabytes);
}

std::unique_ptr<Loader> make_loader(std::shared_ptr<const CaptionSource> source, const LoaderOptions& loader) {
  // A picture with five captions is five samples, but one piece of news.
  return std::make_unique<Loader>(
      std::move(source), loader, [named = std::set<std::string>()](const SkippedSample& sample) mutable {
        if (!named.insert(sample.name).second) return;
        std::cerr << "skipped sample " << sample.index << ": " << sample.reason << std::endl;
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
  visitor.field("feature_cache", options.feature_cache);
  visitor.field("cached_views", options.cached_views);
}

void visit_fields(FieldVisitor& visitor, TextOptions& options) {
  visitor.field("tokenizer", options.tokenizer);
  visitor.field("max_length", options.max_length);
  visitor.field("prompt", options.prompt);
}

void check_text(const TextOptions& options) {
  if (options.max_length >= 1) return;
  throw UserError("text.max_length must be at least 1, found " + std::to_string(options.max_length));
}

std::shared_ptr<CaptionSource> make_training_source(const DataOptions& options, std::int64_t image_size) {
  check_size(options, image_size);
  if (options.train.empty()) throw UserError("data.train names no annotation file");
  return make_source(options, options.train, TransformKind::kTraining);
}

std::unique_ptr<Loader> make_training_loader(std::shared_ptr<const CaptionSource> source, const DataOptions& options,
                                             std::int64_t seed) {
  LoaderOptions loader = options.loader;
  loader.seed = seed;
  loader.shuffle = true;
  return make_loader(std::move(source), loader);
}

std::unique_ptr<Loader> make_validation_loader(const DataOptions& options, std::int64_t image_size) {
  check_size(options, image_size);
  if (options.validation.empty()) return nullptr;
  LoaderOptions loader = options.loader;
  loader.shuffle = false;
  return make_loader(make_source(options, {options.validation}, TransformKind::kEvaluation), loader);
}

}  // namespace blip2
