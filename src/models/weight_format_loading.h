// What WeightFormat means for reading a checkpoint: every matrix takes its format as soon as it is read, so that never
// more than one is in memory twice.
#pragma once

#include <string>
#include <vector>

#include "blip2/checkpoint/module_state.h"
#include "blip2/models/weight_format.h"

namespace blip2 {

/** The matrices below a prefix of a module's names. */
struct MatrixGroup {
  std::string prefix;
  WeightFormat format;
};

/**
 * What the image encoder is kept in: it reads hundreds of rows at once, where arithmetic is the limit and int4 would be
 * slower than int8.
 */
inline WeightFormat image_encoder_format(WeightFormat format) {
  return format == WeightFormat::kInt4 ? WeightFormat::kInt8 : format;
}

/** What the language model is kept in: its inputs have outliers that 8 bits would leave no room beside. */
inline WeightFormat language_model_format(WeightFormat format) {
  return format == WeightFormat::kInt8Fast ? WeightFormat::kInt8 : format;
}

/**
 * Makes `options` keep the matrices of `module` in the formats of their groups. Those that are not float32 take no
 * gradients any more.
 */
void keep_matrices(torch::nn::Module& module, const std::vector<MatrixGroup>& groups, LoadOptions& options);

/** Nor does anything else of a model that was loaded whole in such a format: it is for inference. */
void take_no_gradients(torch::nn::Module& module, WeightFormat format);

}  // namespace blip2
