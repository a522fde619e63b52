// The frozen image encoder's output, computed once for each view of a picture and kept on disk: most of a step's work
// with ViT-g is then done in the first epoch. What comes back is to the bit what was computed. The cache knows weights,
// transform, data and views, and refuses to be used for others.
#pragma once

#include <memory>

#include "blip2/data/feature_store.h"
#include "blip2/models/run_folder.h"
#include "blip2/train/run_options.h"
#include "blip2/train/trainer.h"
#include "blip2/vision/vision_encoder.h"

namespace blip2 {

class FeatureCache {
 public:
  /**
   * Opens `options.feature_cache` for the pictures of `source`, which from now on shows fixed views and leaves pictures
   * unread whose features are there. `origin` is where the frozen encoder's weights came from. Throws UserError for a
   * cache of something else (other weights, pictures, transforms, or products of another `precision`) or options that
   * make no sense, WorldError where the disk refuses.
   */
  FeatureCache(const DataOptions& options, const VisionOptions& vision, const ModelOrigin& origin,
               const TrainerOptions& train, CaptionSource& source);

  /**
   * [B, N, D] of VisionEncoder::encode() for a batch of that source: read, or computed from its pictures and kept. A
   * picture is encoded alone, so that its numbers do not depend on what else is in the batch.
   */
  at::Tensor features(VisionEncoderImpl& encoder, const Batch& batch);

 private:
  std::shared_ptr<FeatureStore> store_;
};

/** The cache that the options ask for, or null. Throws UserError where they ask for one of an encoder that learns. */
std::unique_ptr<FeatureCache> make_feature_cache(const DataOptions& options, const VisionOptions& vision,
                                                 const std::optional<ModelOrigin>& frozen_origin,
                                                 const TrainerOptions& train, CaptionSource& source);

}  // namespace blip2
