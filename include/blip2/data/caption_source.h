// Pictures with captions from an annotation list, transformed for training or evaluation.
#pragma once

#include <memory>
#include <vector>

#include "blip2/data/annotations.h"
#include "blip2/data/feature_store.h"
#include "blip2/data/sample_source.h"
#include "blip2/image/transforms.h"

namespace blip2 {

enum class TransformKind { kTraining, kEvaluation };

/** A few fixed views of every picture instead of a new one each time, so that their features can be kept. */
struct FixedViews {
  std::shared_ptr<const FeatureStore> store;  // pictures whose record it has are not even read
  std::int64_t views = 1;                     // of each picture; view v of picture p has record p * views + v
  std::int64_t seed = 0;
};

class CaptionSource final : public SampleSource {
 public:
  /**
   * One sample per (picture, caption) pair. Up to `cache_megabytes` (10^6 bytes) of decoded pictures are kept in
   * memory, the first that are met; a kept one is never dropped, because in random order no other is more likely to
   * come next.
   */
  CaptionSource(std::vector<Annotation> annotations, ImageTransformOptions transform, TransformKind kind,
                std::int64_t cache_megabytes = 0);
  ~CaptionSource() override;

  /** From now on samples show one of the picture's fixed views. */
  void fix_views(FixedViews views) { fixed_ = std::move(views); }

  std::int64_t size() const override { return static_cast<std::int64_t>(pairs_.size()); }
  std::int64_t image_size() const override { return transform_.image_size; }
  Sample load(std::int64_t index, Random& random) const override;
  std::string name(std::int64_t index) const override;

  const std::vector<Annotation>& annotations() const { return annotations_; }
  const std::vector<CaptionPair>& pairs() const { return pairs_; }

 private:
  class PictureCache;

  std::vector<Annotation> annotations_;
  std::vector<CaptionPair> pairs_;
  ImageTransformOptions transform_;
  TransformKind kind_;
  FixedViews fixed_;
  std::unique_ptr<PictureCache> cache_;
};

}  // namespace blip2
