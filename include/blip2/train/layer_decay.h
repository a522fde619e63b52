// Layer-wise decay of the learning rate (BEiT; paper, appendix; lavis spec 7.1): when the image encoder learns along,
// its early layers move less. LAVIS forms these groups and then gives all of them the same rate (13, number 1), so that
// its published fine-tunings had none; `train.layer_decay = 1` does the same.
#pragma once

#include <cstdint>
#include <string>

#include "blip2/train/optimizer.h"
#include "blip2/vision/vision_encoder.h"

namespace blip2 {

/**
 * Which layer of the image encoder a parameter is of, by its name below `vision_model.`: 0 what comes before the
 * blocks, i + 1 block i. What stands behind them, the LayerNorm of BLIP-2, is none of the encoder's: -1.
 */
std::int64_t vision_layer(const std::string& name, const VisionOptions& options);

/**
 * Factors on the learning rate: decay^(L + 1 - layer) for parameters `vision_model.*` of an encoder of L blocks, so
 * that its last block has `decay` and what comes before the first decay^(L + 1); 1 for all others. Throws UserError for
 * a decay that is not in (0, 1].
 */
AdamW::LearningRateScale vision_layer_decay(const VisionOptions& options, double decay);

}  // namespace blip2
