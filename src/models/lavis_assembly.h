// A whole model from what a LAVIS file holds and what it leaves out: the description that its sizes fit, and the frozen
// parts from where they lie.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "blip2/checkpoint/hugging_face.h"
#include "blip2/models/blip2_options.h"
#include "blip2/models/lavis_checkpoint.h"
#include "blip2/models/lavis_names.h"

namespace blip2 {

/** The parts of a folder in Hugging Face format. */
struct AssembledModel {
  nlohmann::json config;
  NamedTensors tensors;
};

/** Joins `trained`, under Hugging Face's names, with the sources; `file` names in errors where it came from. */
AssembledModel assemble(NamedTensors trained, LavisModel model, const LavisSources& sources, const std::string& file);

}  // namespace blip2
