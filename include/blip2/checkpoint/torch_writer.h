// Files of torch.save (`.pth`, `.bin`, `.pt`), written: the zip form that Python reads since PyTorch 1.6, with
// torch.load(weights_only=True) too.
#pragma once

#include <filesystem>
#include <string>

#include "blip2/checkpoint/safetensors.h"

namespace blip2 {

/**
 * Writes the dict `{section: {name: tensor}}`, or the tensors alone where `section` is empty, atomically. Tensors may
 * be of dtype float32 float16 bfloat16 float64 int64 int32 int16 int8 uint8 bool, on any device and of any strides; in
 * the file they are row-major, and those that share their memory, as tied weights do, are stored once. The same tensors
 * give the same bytes. Throws WorldError when the disk refuses, UserError for a name that is not UTF-8.
 */
void save_torch_archive(const NamedTensors& tensors, const std::filesystem::path& path,
                        const std::string& section = "model");

}  // namespace blip2
