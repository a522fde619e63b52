// A reference case of tokenizers: files of JSON lines, each a text with its ids and what they decode to.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

namespace blip2 {

/**
 * For every file of JSON lines in `folder` whose model folder (beside the case) models.json names: writes a file of the
 * same name into `output`, its lines with `ids`, `tokens`, `decoded` (without special tokens), `decoded_raw` and
 * `decoded_clean` of the same texts. Returned is, per file, the model and the number of lines; a file without a
 * model is only mentioned. The paths of what was written are appended to `written`. Throws UserError.
 */
nlohmann::json run_tokenizers(const std::filesystem::path& folder, const std::filesystem::path& output,
                              std::vector<std::filesystem::path>& written);

}  // namespace blip2
