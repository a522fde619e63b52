// RandAugment as the `blip_image_train` processor of LAVIS has it (LAVIS spec, sections 6 and 16.1): a few of ten
// simple operations, drawn anew for every picture, all of one level. Surprises: at the default level 5 Brightness and
// Sharpness leave a picture as it is; colours come out as Pillow makes them, since LAVIS lets bytes overflow where it
// would otherwise agree with Pillow (`lavis_overflow` asks for just that); warps are OpenCV 4's and fill with grey 128.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "blip2/core/field_visitor.h"
#include "blip2/core/random.h"
#include "blip2/image/image.h"

namespace blip2 {

enum class AugmentOperation {
  kIdentity,
  kAutoContrast,  // stretches each channel to 0 ... 255
  kBrightness,
  kSharpness,
  kEqualize,  // flattens each channel's histogram
  kShearX,
  kShearY,
  kTranslateX,
  kTranslateY,
  kRotate,
};

/** Levels go from 0 to this. */
inline constexpr std::int64_t kMaxAugmentLevel = 10;

/** One operation as it is applied. */
struct Augmentation {
  AugmentOperation operation = AugmentOperation::kIdentity;
  std::int64_t level = 5;
  /** The argument's sign; only shears, translations and rotation look at it. */
  bool negative = false;
};

/** The operations' names, `Identity` to `Rotate`, in the order of the enumeration. */
const std::vector<std::string>& augment_operation_names();

/** The operation of that name. Throws UserError for any other name. */
AugmentOperation parse_augment_operation(const std::string& name);

/** True for the operations that have a direction: ShearX, ShearY, TranslateX, TranslateY and Rotate. */
bool has_sign(AugmentOperation operation);

/**
 * What the level means to the operation: a factor of 0.1 to 1.9 (Brightness, Sharpness; 1 changes nothing), a shear of
 * up to 0.3, a translation of up to 10 pixels, positive to the left and upwards whatever the picture's size, a rotation
 * of up to 30 degrees counter-clockwise; 0 for the others. TORCH_CHECKs the level.
 */
double augment_argument(const Augmentation& augmentation);

/**
 * The picture [height, width, 3] after one operation, of the same size. Warps interpolate bilinearly. With
 * `lavis_overflow`, AutoContrast makes all of a channel 255 that has several values but no 0, and Sharpness goes on at
 * 0 above 255 and at 255 below 0.
 * TORCH_CHECKs the level and the number of pixels.
 */
Image augment(const Image& image, const Augmentation& augmentation, bool lavis_overflow = false);

struct RandAugmentOptions {
  /** Names of the operations to draw from; one that stands there twice is drawn twice as often. */
  std::vector<std::string> operations = augment_operation_names();
  /** Operations drawn for a picture, with replacement. */
  std::int64_t count = 2;
  /** That a drawn operation is applied. */
  double probability = 0.5;
  std::int64_t level = 5;
  /** As in `augment`: for pictures that are LAVIS's to the bit. */
  bool lavis_overflow = false;
};

void visit_fields(FieldVisitor& visitor, RandAugmentOptions& options);

/** Throws UserError naming the first field, as `augmentation.FIELD`, whose value makes no sense. */
void validate(const RandAugmentOptions& options);

/**
 * The operations for one picture, in the order of their application: at most `count`, those that chance spared are left
 * out. Either sign is as likely. The random numbers are ours, so draws differ from LAVIS's. Throws UserError.
 */
std::vector<Augmentation> draw_augmentations(const RandAugmentOptions& options, Random& random);

/** Draws operations and applies them one after the other. Throws UserError for bad options. */
Image rand_augment(const Image& image, const RandAugmentOptions& options, Random& random);

}  // namespace blip2
