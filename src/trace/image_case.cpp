#include "trace/image_case.h"

#include <torch/torch.h>

#include <algorithm>
#include <map>

#include "blip2/core/error.h"
#include "blip2/image/transforms.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const std::string kHorizontalFirst = ".horizontal_first";

/** [h, w, 3] */
at::Tensor to_tensor(const Image& image) {
  return torch::tensor(at::ArrayRef<std::uint8_t>(image.pixels), torch::kByte).view({image.height, image.width, 3});
}

at::Tensor pixel_values(const Image& image, std::int64_t side) {
  ImageTransformOptions options;
  options.image_size = side;
  const std::vector<float> values = evaluation_transform(image, options);
  return torch::tensor(at::ArrayRef<float>(values)).view({3, side, side});
}

/** The reference's other image processor: torchvision's resampling of bytes, and a normalisation in one step. */
at::Tensor torchvision_pixel_values(const Image& image, std::int64_t side) {
  const at::Tensor pixels = to_tensor(image).permute({2, 0, 1}).unsqueeze(0).contiguous();
  const at::Tensor resized = at::_upsample_bicubic2d_aa(pixels, {side, side}, /*align_corners=*/false);
  const ImageTransformOptions options;
  const auto channels = [](const std::vector<double>& values) {
    return (torch::tensor(values, torch::kDouble) * 255.0).to(torch::kFloat).view({3, 1, 1});
  };
  return (resized.squeeze(0).to(torch::kFloat) - channels(options.mean)) / channels(options.std);
}

class ImageCase {
 public:
  ImageCase(const fs::path& folder, const json& asked) : asked_(asked) {
    const SafetensorsFile expected(folder / "expected.safetensors");
    for (const TensorInfo& tensor : expected.tensors()) names_.push_back(tensor.name);
    for (const auto& [file, record] : asked.at("files").items()) read(folder / "files" / file, file);
  }

  void run(NamedTensors& trace) const {
    for (const auto& [file, image] : images_) trace[file] = to_tensor(image);
    for (const std::string& name : names_) {
      const at::Tensor tensor = compute(name);
      if (tensor.defined()) trace[name] = tensor;
    }
  }

  json answers() const { return {{"files", records_}, {"sizes", asked_.at("sizes")}, {"crops", asked_.at("crops")}}; }

 private:
  void read(const fs::path& path, const std::string& file) {
    try {
      const Image& image = images_[file] = load_image(path);
      records_[file]["size"] = {image.width, image.height};
    } catch (const UserError& error) {
      images_.erase(file);
      records_[file]["refused"] = error.what();
    }
  }

  bool asks_for(const std::string& name) const { return std::find(names_.begin(), names_.end(), name) != names_.end(); }

  Image resized(const Image& image, std::int64_t size, const std::string& name) const {
    if (!asks_for(name + kHorizontalFirst)) return resize_bicubic(image, size, size);
    return resize_bicubic(resize_bicubic(image, size, image.width), size, size);  // as Pillow 13 does
  }

  /** Undefined for a name that says nothing, or of a file that was refused. */
  at::Tensor compute(const std::string& name) const {
    std::string plain = name;
    if (name.ends_with(kHorizontalFirst)) plain.resize(name.size() - kHorizontalFirst.size());
    for (const json& one : asked_.at("crops")) {
      if (one.at("key") == plain) return cropped(one, name);
    }
    const auto dot = plain.rfind('.');
    const auto found = images_.find(plain.substr(0, dot));
    if (dot == std::string::npos || found == images_.end()) return {};
    const Image& image = found->second;
    const std::string what = plain.substr(dot + 1);
    const auto sizes = asked_.at("sizes").get<std::vector<std::int64_t>>();
    for (const std::int64_t size : sizes) {
      if (what == std::to_string(size)) return to_tensor(resized(image, size, name));
    }
    const std::int64_t side = sizes.at(0) / 2;
    if (what == "pixel_values") return pixel_values(image, side);
    return what == "pixel_values_torchvision" ? torchvision_pixel_values(image, side) : at::Tensor();
  }

  at::Tensor cropped(const json& one, const std::string& name) const {
    const auto found = images_.find(one.at("file"));
    if (found == images_.end()) return {};
    const Image part =
        resized(crop(found->second, {one.at("i"), one.at("j"), one.at("h"), one.at("w")}), one.at("size"), name);
    return to_tensor(one.at("flip").get<bool>() ? flip_horizontal(part) : part);
  }

  const json& asked_;
  std::vector<std::string> names_;
  std::map<std::string, Image> images_;
  json records_ = json::object();
};

}  // namespace

json run_images(const fs::path& folder, const json& asked, NamedTensors& trace) {
  const ImageCase pictures(folder, asked);
  pictures.run(trace);
  return pictures.answers();
}

}  // namespace blip2
