// How the weights of a language model are spelt in a file: tied tables may be stored once, twice or under another name
// (Hugging Face specification 2.3 and 2.6), and a flag in the config may say otherwise than the weights do.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "blip2/checkpoint/hugging_face.h"
#include "blip2/lm/language_model_options.h"

namespace blip2 {

struct LanguageTensors {
  std::vector<std::string> copies;               // names to pass over, for LoadOptions::ignore
  std::map<std::string, std::string> stored_as;  // for LoadOptions::stored_as
};

/**
 * What to read for a model of these options, whose tensors begin with `prefix`. Where the file holds
 * both, the head is tied if it equals the embedding and untied if not.
 */
LanguageTensors adapt_to_tensors(LanguageModelOptions& options, const ModelTensors& tensors, const std::string& prefix);

}  // namespace blip2
