// A reference case of the logits processors alone: scores and a history of ids, and a list of generation options.
#pragma once

#include <nlohmann/json.hpp>

#include "blip2/checkpoint/safetensors.h"
#include "blip2/generate/options.h"

namespace blip2 {

/** The reference's keyword arguments of `generate` as our options; what has another form here is translated. */
GenerationOptions reference_options(nlohmann::json arguments, const std::string& source);

/**
 * For every entry NAME of `asked` ("cases"): `NAME.processed` and `NAME.probabilities` [R, V] into `trace`; returned is
 * `asked` with the order of the processors under the reference's names and how many tokens of each row were `kept`.
 */
nlohmann::json run_logits_processors(const nlohmann::json& asked, const NamedTensors& inputs, NamedTensors& trace);

}  // namespace blip2
