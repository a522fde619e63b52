// The JSON files of a published folder (Hugging Face specification 1 and 5.1) for a model of ours.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>

#include "blip2/image/transforms.h"
#include "blip2/models/blip2_options.h"

namespace blip2 {

/** config.json of a `Blip2ForConditionalGeneration`, of a `Blip2ForImageTextRetrieval`. `dtype` is torch's name. */
nlohmann::json generator_config(const Blip2GeneratorOptions& options, const std::string& dtype);
nlohmann::json retrieval_config(const Blip2Options& options, const std::string& dtype);

/** generation_config.json: which tokens begin, end and fill. */
nlohmann::json generation_config(const LanguageModelOptions& options);

/** preprocessor_config.json. */
nlohmann::json preprocessor_config(const ImageTransformOptions& transform);

/** processor_config.json; `num_query_tokens` placeholders stand in front of a text, none where it is not given. */
nlohmann::json processor_config(std::optional<std::int64_t> num_query_tokens);

}  // namespace blip2
