// A config is believed only as far as the weights beside it go: before a model takes memory, every width that its
// config names is compared with a tensor that has it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "blip2/checkpoint/hugging_face.h"
#include "blip2/models/blip2_options.h"

namespace blip2 {

/**
 * Throws UserError where a size in the config is larger than the tensor of `tensors` that it describes: it names both.
 * A tensor that is missing, or larger than the config says, is left to load_parameters(), which lists all that do not
 * fit. `prefix` is what the language model's names begin with.
 */
void check_stored_sizes(const LanguageModelOptions& options, const ModelTensors& tensors, const std::string& prefix);

/** The same for the image encoder, the Q-Former and what both stages have besides. */
void check_stored_sizes(const Blip2Options& options, const ModelTensors& tensors);

/** What sizes are compared with: the tensors of `source`, wherever they lie, and the file that describes them. */
struct StoredSizes {
  std::string source, described;
  std::function<std::optional<std::vector<std::int64_t>>(const std::string&)> shape_of;
};

void check_stored_sizes(const Blip2Options& options, const StoredSizes& stored);

}  // namespace blip2
