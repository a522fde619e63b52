// From a picture to pixel values: Pillow's bicubic resampling to the bit, torchvision's random crop geometry and
// normalisation as the PIL image processor computes it (Hugging Face spec 5.2, LAVIS spec, section 6).
// Surprises: the evaluation transform ignores the aspect ratio, and resampling always goes horizontally first, as every
// Pillow that published numbers were made with does (Pillow 13 changed that for some shapes).
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "blip2/core/field_visitor.h"
#include "blip2/core/random.h"
#include "blip2/image/image.h"
#include "blip2/image/rand_augment.h"

namespace blip2 {

/** A rectangle of pixels inside a picture. */
struct CropBox {
  std::int64_t top = 0;
  std::int64_t left = 0;
  std::int64_t height = 0;
  std::int64_t width = 0;
};

struct ImageTransformOptions {
  std::int64_t image_size = 224;
  /** Range of the share of the area that the training crop keeps; {1, 1} keeps all that crop_ratio allows. */
  std::vector<double> crop_scale = {0.5, 1.0};
  /** Range of the crop's width / height. */
  std::vector<double> crop_ratio = {3.0 / 4.0, 4.0 / 3.0};
  double horizontal_flip = 0.5;
  /** Augments training pictures, as LAVIS's `blip_image_train` does and its `blip2_image_train` does not. */
  bool rand_augment = false;
  /** How, where `rand_augment` is true. */
  RandAugmentOptions augmentation;
  /** CLIP's statistics, for pixels in [0, 1]. */
  std::vector<double> mean = {0.48145466, 0.4578275, 0.40821073};
  std::vector<double> std = {0.26862954, 0.26130258, 0.27577711};
};

void visit_fields(FieldVisitor& visitor, ImageTransformOptions& options);

/** Throws UserError naming the first field whose value makes no sense. */
void validate(const ImageTransformOptions& options);

/** Resamples to [height, width, 3], equal to Pillow's `resize(..., BICUBIC)` up to version 12. TORCH_CHECKs the sizes.
 */
Image resize_bicubic(const Image& image, std::int64_t height, std::int64_t width);

/** The pixels inside the box, [box.height, box.width, 3]. TORCH_CHECKs that the box lies inside the picture. */
Image crop(const Image& image, const CropBox& box);

/** Mirrors left and right. */
Image flip_horizontal(const Image& image);

/**
 * torchvision's RandomResizedCrop geometry: ten attempts at an area share from `scale` and a log-uniform `ratio`, then
 * the largest central box whose ratio is in range. The random numbers are ours, so boxes differ from torchvision's.
 */
CropBox random_resized_crop_box(std::int64_t height, std::int64_t width, std::array<double, 2> scale,
                                std::array<double, 2> ratio, Random& random);

/**
 * Pixel values [3, height, width]: `float32(double(x) / 255)`, then `(x - mean) / std` in float32; equal to the PIL
 * image processor. `mean` and `std` have three values.
 */
std::vector<float> normalize(const Image& image, const std::vector<double>& mean, const std::vector<double>& std);

/** Resizes to the square, whatever the aspect ratio, and normalises: [3, image_size, image_size]. Throws UserError. */
std::vector<float> evaluation_transform(const Image& image, const ImageTransformOptions& options);

/**
 * Random crop, resize, random mirror, RandAugment where it is asked for, normalise: [3, image_size, image_size].
 * Without RandAugment it draws no number for it. Throws UserError for bad options.
 */
std::vector<float> training_transform(const Image& image, const ImageTransformOptions& options, Random& random);

}  // namespace blip2
