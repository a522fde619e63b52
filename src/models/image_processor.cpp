// preprocessor_config.json. What other pipelines may ask for (another filter, a crop, no normalisation) is refused by
// name: pictures prepared differently from what a model was trained on give plausible nonsense.
#include <cmath>
#include <optional>

#include "blip2/core/config.h"
#include "blip2/core/error.h"
#include "blip2/models/published_folder.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::int64_t kBicubic = 3;  // Pillow's number

struct ImageProcessor {
  bool do_resize = true, do_rescale = true, do_normalize = true, do_center_crop = false;
  std::int64_t resample = kBicubic;
  double rescale_factor = 1.0 / 255.0;
  std::vector<double> image_mean = ImageTransformOptions().mean;
  std::vector<double> image_std = ImageTransformOptions().std;
};

void visit_fields(FieldVisitor& visitor, ImageProcessor& options) {
  visitor.field("do_resize", options.do_resize);
  visitor.field("do_rescale", options.do_rescale);
  visitor.field("do_normalize", options.do_normalize);
  visitor.field("do_center_crop", options.do_center_crop);
  visitor.field("resample", options.resample);
  visitor.field("rescale_factor", options.rescale_factor);
  visitor.field("image_mean", options.image_mean);
  visitor.field("image_std", options.image_std);
}

/** The object that describes the processor and the file it was found in. */
std::optional<std::pair<json, fs::path>> find_processor(const fs::path& folder) {
  const fs::path own = folder / "preprocessor_config.json", joint = folder / "processor_config.json";
  if (fs::exists(own)) return std::pair(load_json(own), own);
  if (!fs::exists(joint)) return std::nullopt;
  const json root = load_json(joint);
  if (!root.is_object() || !root.contains("image_processor")) return std::nullopt;
  return std::pair(root["image_processor"], joint);
}

/** `size` is a number, or an object with height and width. */
void check_size_is(std::int64_t image_size, const json& processor, const std::string& where) {
  const auto size = processor.find("size");
  if (size == processor.end()) return;
  const json square = {{"height", image_size}, {"width", image_size}};
  const json expected = size->is_object() ? square : json(image_size);
  if (*size == expected) return;
  throw UserError(where + "'size' is " + size->dump() + ", but the image encoder reads " + std::to_string(image_size) +
                  "x" + std::to_string(image_size) + " pixels (vision_config.image_size)");
}

void check(const ImageProcessor& processor, const std::string& where) {
  auto refuse = [&](const std::string& what) { throw UserError(where + what); };
  const std::pair<const char*, bool> steps[] = {{"do_resize", processor.do_resize},
                                                {"do_rescale", processor.do_rescale},
                                                {"do_normalize", processor.do_normalize}};
  for (const auto& [name, on] : steps) {
    if (!on) refuse("'" + std::string(name) + "' is false, expected true: BLIP-2's pictures go through every step");
  }
  if (processor.do_center_crop) refuse("'do_center_crop' is true, expected false: BLIP-2 resizes without cropping");
  if (processor.resample != kBicubic) {
    refuse("'resample' is " + std::to_string(processor.resample) + ", expected 3 (bicubic)");
  }
  if (std::abs(processor.rescale_factor * 255.0 - 1.0) > 1e-6) {
    refuse("'rescale_factor' is " + std::to_string(processor.rescale_factor) + ", expected 1/255");
  }
}

}  // namespace

ImageTransformOptions load_image_processor(const fs::path& folder, std::int64_t image_size) {
  ImageTransformOptions transform;
  transform.image_size = image_size;
  const auto found = find_processor(folder);
  if (!found) return transform;
  const auto& [object, file] = *found;
  ImageProcessor processor;
  read_config(object, processor, file.string(), UnknownKeys::kIgnore);
  const std::string where = "'" + file.string() + "': ";
  check(processor, where);
  check_size_is(image_size, object, where);
  transform.mean = processor.image_mean;
  transform.std = processor.image_std;
  try {
    validate(transform);
  } catch (const UserError& error) {
    throw UserError(where + error.what());
  }
  return transform;
}

}  // namespace blip2
