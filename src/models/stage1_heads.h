// What a stage-1 model has and Hugging Face's retrieval class lacks: the head for text generation and the temperature.
// In a published folder they lie in a file of their own, so that Python finds no tensor that it does not expect.
#pragma once

#include <filesystem>

#include "blip2/models/blip2_qformer.h"

namespace blip2 {

inline constexpr const char* kStage1HeadsFile = "stage1_heads.safetensors";

/** Whether Hugging Face's retrieval class lacks the parameter of this name. */
bool is_stage1_head(const std::string& name);

/** Whether both are as a new model has them, neither read nor trained: the temperature 0.07, the head's biases zero. */
bool has_new_stage1_heads(const Blip2QFormerImpl& model);

/** Writes the file into an existing folder. Throws WorldError. */
void save_stage1_heads(const Blip2QFormerImpl& model, const std::filesystem::path& folder);

/** Reads the file -> whether the folder has one. Throws UserError for tensors that do not fit. */
bool load_stage1_heads(Blip2QFormerImpl& model, const std::filesystem::path& folder);

}  // namespace blip2
