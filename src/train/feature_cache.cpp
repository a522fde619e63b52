#include "blip2/train/feature_cache.h"

#include <torch/torch.h>

#include <filesystem>

#include "blip2/core/config.h"
#include "blip2/core/error.h"
#include "blip2/core/fingerprint.h"

namespace blip2 {
namespace {

/** The pictures in their order, each as it lies on the disk now. */
std::string fingerprint_of(const std::vector<Annotation>& annotations) {
  Fingerprint fingerprint;
  for (const Annotation& annotation : annotations) {
    fingerprint.add(annotation.image.string());
    std::error_code missing;  // of a picture that cannot be read no record is written
    const auto size = std::filesystem::file_size(annotation.image, missing);
    if (!missing) fingerprint.add(static_cast<std::int64_t>(size));
    const auto time = std::filesystem::last_write_time(annotation.image, missing);
    if (!missing) fingerprint.add(static_cast<std::int64_t>(time.time_since_epoch().count()));
  }
  return fingerprint.text();
}

}  // namespace

FeatureCache::FeatureCache(const DataOptions& options, const VisionOptions& vision, const ModelOrigin& origin,
                           const TrainerOptions& train, CaptionSource& source) {
  if (options.cached_views < 1 || options.cached_views > 1024) {
    throw UserError("data.cached_views must be from 1 to 1024, found " + std::to_string(options.cached_views));
  }
  nlohmann::json key = {{"weights", origin.fingerprint},
                        {"vision_config", write_config(vision)},
                        {"transform", write_config(options.transform)},
                        {"pictures", fingerprint_of(source.annotations())},
                        {"cached_views", options.cached_views},
                        {"seed", train.seed}};
  if (train.precision != TrainerOptions().precision) key["precision"] = train.precision;
  const auto pictures = static_cast<std::int64_t>(source.annotations().size());
  store_ = std::make_shared<FeatureStore>(options.feature_cache, key, pictures * options.cached_views,
                                          std::vector<std::int64_t>{vision.num_patches() + 1, vision.hidden_size});
  source.fix_views({store_, options.cached_views, train.seed});
}

at::Tensor FeatureCache::features(VisionEncoderImpl& encoder, const Batch& batch) {
  const torch::NoGradGuard no_grad;
  std::vector<at::Tensor> rows(static_cast<std::size_t>(batch.size()));
  for (std::size_t i = 0; i < batch.pixel_rows.size(); ++i) {
    const auto row = static_cast<std::size_t>(batch.pixel_rows[i]);
    rows[row] = encoder.encode(batch.pixels.narrow(0, static_cast<std::int64_t>(i), 1)).squeeze(0).to(at::kFloat).cpu();
    store_->write(batch.records[row], rows[row]);
  }
  for (std::size_t row = 0; row < rows.size(); ++row) {
    if (!rows[row].defined()) rows[row] = store_->read(batch.records[row]);
  }
  return torch::stack(rows);
}

std::unique_ptr<FeatureCache> make_feature_cache(const DataOptions& options, const VisionOptions& vision,
                                                 const std::optional<ModelOrigin>& frozen_origin,
                                                 const TrainerOptions& train, CaptionSource& source) {
  if (options.feature_cache.empty()) return nullptr;
  if (!frozen_origin) {
    throw UserError("data.feature_cache is set, but the image encoder learns: its output changes with every step");
  }
  return std::make_unique<FeatureCache>(options, vision, *frozen_origin, train, source);
}

}  // namespace blip2
