#include "blip2/data/caption_source.h"

#include <mutex>

namespace blip2 {

class CaptionSource::PictureCache {
 public:
  PictureCache(std::size_t pictures, std::int64_t megabytes)
      : slots_(megabytes > 0 ? pictures : 0), bytes_left_(megabytes * 1'000'000) {}

  std::shared_ptr<const Image> find_or_load(std::int64_t annotation, const std::filesystem::path& path) {
    const auto slot = static_cast<std::size_t>(annotation);
    if (!slots_.empty()) {
      const std::lock_guard lock(mutex_);
      if (slots_[slot]) return slots_[slot];
    }
    auto image = std::make_shared<const Image>(load_image(path));
    if (!slots_.empty()) {
      const std::lock_guard lock(mutex_);
      const auto bytes = static_cast<std::int64_t>(image->pixels.size());
      if (!slots_[slot] && bytes <= bytes_left_) {
        slots_[slot] = image;
        bytes_left_ -= bytes;
      }
    }
    return image;
  }

 private:
  std::mutex mutex_;
  std::vector<std::shared_ptr<const Image>> slots_;
  std::int64_t bytes_left_;
};

CaptionSource::CaptionSource(std::vector<Annotation> annotations, ImageTransformOptions transform, TransformKind kind,
                             std::int64_t cache_megabytes)
    : annotations_(std::move(annotations)),
      pairs_(caption_pairs(annotations_)),
      transform_(std::move(transform)),
      kind_(kind),
      cache_(std::make_unique<PictureCache>(annotations_.size(), cache_megabytes)) {
  validate(transform_);
}

CaptionSource::~CaptionSource() = default;

Sample CaptionSource::load(std::int64_t index, Random& random) const {
  const CaptionPair pair = pairs_.at(static_cast<std::size_t>(index));
  const Annotation& annotation = annotations_[static_cast<std::size_t>(pair.annotation)];
  Sample sample;
  sample.caption = annotation.captions[static_cast<std::size_t>(pair.caption)];
  sample.image_id = annotation.image_id;
  Random augmentation = random;
  if (fixed_.store != nullptr) {
    const std::int64_t view = random.below(fixed_.views);
    sample.record = pair.annotation * fixed_.views + view;
    if (fixed_.store->has(sample.record)) return sample;
    augmentation = Random({static_cast<std::uint64_t>(fixed_.seed), static_cast<std::uint64_t>(pair.annotation),
                           static_cast<std::uint64_t>(view)});
  }
  const auto image = cache_->find_or_load(pair.annotation, annotation.image);
  sample.pixels = kind_ == TransformKind::kTraining ? training_transform(*image, transform_, augmentation)
                                                    : evaluation_transform(*image, transform_);
  return sample;
}

std::string CaptionSource::name(std::int64_t index) const {
  const auto annotation = pairs_.at(static_cast<std::size_t>(index)).annotation;
  return annotations_[static_cast<std::size_t>(annotation)].image.string();
}

}  // namespace blip2
