// Reading tensors under LAVIS's names.
#pragma once

#include <filesystem>

#include "blip2/checkpoint/safetensors.h"
#include "blip2/checkpoint/torch_archive.h"

namespace blip2 {

/** Every tensor of a file of torch.save, or of one whose name ends in .safetensors. Throws as their readers do. */
inline NamedTensors load_lavis_tensors(const std::filesystem::path& file) {
  return file.extension() == ".safetensors" ? load_safetensors(file) : load_torch_state_dict(file);
}

}  // namespace blip2
