// What is in a weights file or a model folder, without reading the weights: names, dtypes, shapes, the dicts around
// them, and totals; as a struct, as text for people and as JSON for programs.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "blip2/checkpoint/safetensors.h"

namespace blip2 {

/** One tensor, one value, or one dict or list with what is in it. */
struct InspectedEntry {
  std::string name{};                      // the key in its dict, the place in its list
  std::optional<TensorInfo> tensor{};      // a tensor
  nlohmann::json value{};                  // neither tensor nor dict nor list: null, a number, a text, a dtype's name
  std::string container{};                 // "dict", "list" or "tuple"; "" for a tensor or value
  std::vector<InspectedEntry> contents{};  // of a dict, list or tuple
  std::string file{};                      // in a folder: the file that holds the tensor
};

struct Inspection {
  std::string format;  // "safetensors", "PyTorch", "PyTorch before 1.6" or "Hugging Face folder"
  std::map<std::string, std::string> metadata;
  std::vector<InspectedEntry> entries;
  // Over all tensors; one that stands in two places counts twice.
  std::uint64_t tensors = 0;
  std::uint64_t parameters = 0;
  std::uint64_t bytes = 0;
};

/**
 * Looks into a safetensors file, a file of torch.save or a Hugging Face folder; a file is known by its first bytes.
 * Throws UserError when there is none or it is damaged, WorldError when the disk does not let us read it.
 */
Inspection inspect_weights(const std::filesystem::path& path);

/** One line a tensor or value, indented below its dict or list, and one with the totals. Names are escaped. */
std::string inspection_text(const Inspection& inspection);

/**
 * `{"format", "metadata", "entries": [...], "tensors", "parameters", "bytes"}`. An entry has a "name" and `"dtype",
 * "shape", "bytes"` (and "file" in a folder), `"value"`, or `"container", "entries"`.
 */
nlohmann::json inspection_json(const Inspection& inspection);

}  // namespace blip2
