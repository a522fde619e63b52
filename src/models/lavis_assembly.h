// A whole model from what a LAVIS file holds and what it leaves out: the description that its sizes fit, and the frozen
// parts from where they lie.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "blip2/checkpoint/hugging_face.h"
#include "blip2/models/lavis_checkpoint.h"
#include "blip2/models/lavis_names.h"
#include "blip2/text/tokenizer.h"

namespace blip2 {

/** The parts of a folder in Hugging Face format. */
struct AssembledModel {
  nlohmann::json config;
  NamedTensors tensors;
  std::int64_t image_size = 0;  // height and width of the pictures
};

/**
 * Joins `trained`, under Hugging Face's names, with the sources; `file` names in errors where it came from. The
 * tokenizer is the one that the model gets, null for an image encoder alone. Throws UserError for a description that
 * makes no sense, and one that lists all that does not fit it.
 */
AssembledModel assemble(NamedTensors trained, LavisModel model, const LavisSources& sources, const Tokenizer* tokenizer,
                        const std::string& file);

}  // namespace blip2
