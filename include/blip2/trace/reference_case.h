// Runs a reference case: a folder that says in expected.json what was asked, of a model in `model/` (as Hugging Face
// writes it), of the logits processors, of pictures or of tokenizers. What this implementation computes goes into
// actual.safetensors and actual.json under the names of the case's expected files, so that any program can judge. Of
// expected.json only the questions are repeated, never an answer.
#pragma once

#include <filesystem>
#include <vector>

namespace blip2 {

struct CaseOptions {
  bool double_precision = false;  // compute in float64
};

/**
 * Runs the case in `folder`, writes into `output`, which is created where it is missing, and returns the paths of what
 * was written.
 *
 * Generative models, retrieval models, generative models that read pictures of several sizes: all activations, losses
 * and gradients, the processed scores, ids and texts of every search, ranked answers. Logits processors: scores and
 * probabilities. Pictures: decoded, resized and cropped bytes, pixel values. Tokenizers: a file of JSON lines for every
 * file of the case that models.json names a model for. Throws UserError for a folder that is no such case.
 */
std::vector<std::filesystem::path> run_reference_case(const std::filesystem::path& folder,
                                                      const std::filesystem::path& output, const CaseOptions& options);

}  // namespace blip2
