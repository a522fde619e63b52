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
};

void visit_fields(FieldVisitor& visitor, DataOptions& options);

/** Captions as the text side reads them: section "text". */
struct TextOptions {
  std::string tokenizer;         // stage 1: folder with vocab.txt; stage 2 has its language model's and takes none
  std::int64_t max_length = 32;  // tokens, special ones included
  std::string prompt;            // stage 2 with OPT: stands in front of every caption and is not trained on
};

void visit_fields(FieldVisitor& visitor, TextOptions& options);

/** Throws UserError where the captions would have no room. */
void check_text(const TextOptions& options);

/**
 * Training pictures in random order. Unreadable ones are named on standard error and counted. Throws UserError when the
 * file is missing or the model's pictures have another size than `data.transform.image_size`.
 */
std::unique_ptr<Loader> make_training_loader(const DataOptions& options, std::int64_t image_size, std::int64_t seed);

/** Validation pictures in order, as they are seen in evaluation; null when the config names none. */
std::unique_ptr<Loader> make_validation_loader(const DataOptions& options, std::int64_t image_size);

}  // namespace blip2
