// The other direction of published_folder.h: a model as one folder that our programs and Python's from_pretrained open
// (Hugging Face specification, sections 1, 2, 5 and 6), frozen and trained parts together. Everything is written out,
// class defaults too. Surprises: Hugging Face's retrieval class has neither head for text generation nor temperature,
// so these lie in a file of their own, which Python passes over; and transformers 5 warns of every T5 whose head is not
// its embedding, as of FlanT5's own folders.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>
#include <vector>

#include "blip2/models/run_folder.h"

namespace blip2 {

/** float32, bfloat16 or float16. Throws UserError for another name. */
at::ScalarType export_dtype(const std::string& name);

struct ExportOptions {
  /**
   * Of the weights. In float16 what Python computes in float32 all the same stays float32: query tokens, Q-Former and
   * T5's `wo`.
   */
  at::ScalarType dtype = at::kFloat;
  /** A larger model is sharded; in bytes. */
  std::uint64_t largest_file = 5'000'000'000;
};

/**
 * Writes config.json, weights, generation_config.json, processor files and tokenizer to `folder`, which is replaced as
 * a whole or not at all. A model without image_token_index gets one, see image_token_id(). Returns what Python computes
 * otherwise than we do, one sentence each. Throws UserError where Hugging Face has no class for the image encoder,
 * where a value does not fit float16, where the folder holds something else; WorldError when the disk refuses.
 */
std::vector<std::string> save_published(const GeneratorModel& generator, const std::filesystem::path& folder,
                                        const ExportOptions& options = {});

/**
 * The same as `Blip2ForImageTextRetrieval`. Head and temperature are left out where they are those of a new model, as
 * behind a folder that had none: one more sentence says so.
 */
std::vector<std::string> save_published(const RepresentationModel& retrieval, const std::filesystem::path& folder,
                                        const ExportOptions& options = {});

}  // namespace blip2
