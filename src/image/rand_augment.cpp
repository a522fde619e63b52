#include "blip2/image/rand_augment.h"

#include <algorithm>
#include <optional>

#include "blip2/core/error.h"

namespace blip2 {
namespace {

constexpr std::int64_t kMaxCount = 10;

std::optional<AugmentOperation> find_operation(const std::string& name) {
  const auto& names = augment_operation_names();
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) return std::nullopt;
  return static_cast<AugmentOperation>(found - names.begin());
}

/** `'Rotat', expected one of Identity, ...` */
std::string unknown_name(const std::string& name) {
  std::string text = "'" + name + "', expected one of ";
  for (const auto& known : augment_operation_names()) text += (known == "Identity" ? "" : ", ") + known;
  return text;
}

[[noreturn]] void refuse(const std::string& field, const std::string& expected, const std::string& found) {
  throw UserError("image transform: 'augmentation." + field + "' must be " + expected + ", found " + found);
}

void check_range(const std::string& field, std::int64_t value, std::int64_t low, std::int64_t high) {
  if (value >= low && value <= high) return;
  refuse(field, "from " + std::to_string(low) + " to " + std::to_string(high), std::to_string(value));
}

}  // namespace

const std::vector<std::string>& augment_operation_names() {
  static const std::vector<std::string> names = {"Identity", "AutoContrast", "Brightness", "Sharpness",  "Equalize",
                                                 "ShearX",   "ShearY",       "TranslateX", "TranslateY", "Rotate"};
  return names;
}

AugmentOperation parse_augment_operation(const std::string& name) {
  const auto operation = find_operation(name);
  if (!operation) throw UserError("image augmentation: unknown operation " + unknown_name(name));
  return *operation;
}

void visit_fields(FieldVisitor& visitor, RandAugmentOptions& options) {
  visitor.field("operations", options.operations);
  visitor.field("count", options.count);
  visitor.field("probability", options.probability);
  visitor.field("level", options.level);
  visitor.field("lavis_overflow", options.lavis_overflow);
}

void validate(const RandAugmentOptions& options) {
  if (options.operations.empty()) refuse("operations", "at least one operation's name", "an empty list");
  for (const auto& name : options.operations) {
    if (find_operation(name)) continue;
    throw UserError("image transform: 'augmentation.operations' has the unknown operation " + unknown_name(name));
  }
  check_range("count", options.count, 1, kMaxCount);
  if (!(options.probability >= 0 && options.probability <= 1)) {
    refuse("probability", "from 0 to 1", std::to_string(options.probability));
  }
  check_range("level", options.level, 0, kMaxAugmentLevel);
}

std::vector<Augmentation> draw_augmentations(const RandAugmentOptions& options, Random& random) {
  validate(options);
  std::vector<Augmentation> drawn;
  for (std::int64_t i = 0; i < options.count; ++i) {
    const auto which = random.below(static_cast<std::int64_t>(options.operations.size()));
    if (!random.coin(options.probability)) continue;
    Augmentation augmentation{parse_augment_operation(options.operations[static_cast<std::size_t>(which)]),
                              options.level};
    if (has_sign(augmentation.operation)) augmentation.negative = random.coin(0.5);
    drawn.push_back(augmentation);
  }
  return drawn;
}

Image rand_augment(const Image& image, const RandAugmentOptions& options, Random& random) {
  Image result = image;
  for (const Augmentation& augmentation : draw_augmentations(options, random)) {
    result = augment(result, augmentation, options.lavis_overflow);
  }
  return result;
}

}  // namespace blip2
