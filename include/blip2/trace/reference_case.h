// Runs a reference case: a folder with `model/` (as Hugging Face writes it), inputs.safetensors and expected.json,
// which says what was asked of the model. What this implementation computes goes into actual.safetensors and
// actual.json under the names of the case's expected files, so that any program can judge. Of expected.json only
// the questions are repeated, never an answer.
#pragma once

#include <filesystem>

namespace blip2 {

struct CaseOptions {
  bool double_precision = false;  // compute in float64
};

/**
 * Runs the case in `folder` and writes into `output`, which is created where it is missing: all activations, losses
 * and gradients, the processed scores, ids and texts of every search, ranked answers. Cases are generative models,
 * retrieval models and generative models that read pictures of several sizes. Throws UserError for a folder that is no
 * such case.
 */
void run_reference_case(const std::filesystem::path& folder, const std::filesystem::path& output,
                        const CaseOptions& options);

}  // namespace blip2
