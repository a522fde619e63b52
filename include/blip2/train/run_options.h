// Sections that the run configs of all trainers share.
#pragma once

#include <memory>
#include <string>

#include "blip2/data/caption_source.h"
#include "blip2/data/loader.h"
#include "blip2/models/text_tokens.h"

namespace blip2 {

/** Pictures and captions of a run: section "data". */
struct DataOptions {
  std::vector<std::string> train;  // annotation files (data/annotations.h), joined
  std::string validation;          // empty: none
  ImageTransformOptions transform;
  LoaderOptions loader;
  std::int64_t cache_megabytes = 2000;  // decoded pictures kept in memory
  /**
   * Folder for the frozen image encoder's output, kept from epoch to epoch (train/feature_cache.h); empty: none. Each
   * picture is then seen in `cached_views` fixed random crops.
   */
  std::string feature_cache;
  std::int64_t cached_views = 1;
};

void visit_fields(FieldVisitor& visitor, DataOptions& options);

/** Captions as the text side reads them: section "text". */
struct TextOptions {
  std::string tokenizer;         // stage 1: folder with vocab.txt; stage 2 has its language model's and takes none
  std::int64_t max_length = 32;  // tokens, special ones included
  std::string prompt;            // stage 2: OPT continues it with the caption, T5's encoder reads it
};

void visit_fields(FieldVisitor& visitor, TextOptions& options);

/** Throws UserError where the captions would have no room. */
void check_text(const TextOptions& options);

/** The pictures and captions of data.train. Throws UserError where none is named or the size is not `image_size`. */
std::shared_ptr<CaptionSource> make_training_source(const DataOptions& options, std::int64_t image_size);

/**
 * Training pictures in random order. Unreadable ones are named on standard error and counted.
 */
std::unique_ptr<Loader> make_training_loader(std::shared_ptr<const CaptionSource> source, const DataOptions& options,
                                             std::int64_t seed);

/** Validation pictures in order, as they are seen in evaluation; null when the config names none. */
std::unique_ptr<Loader> make_validation_loader(const DataOptions& options, std::int64_t image_size);

}  // namespace blip2
