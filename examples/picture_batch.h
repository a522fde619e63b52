// Pictures named on the command line as one batch, as the model saw them in evaluation.
#pragma once

#include <torch/torch.h>

#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "blip2/core/config.h"
#include "blip2/core/error.h"
#include "blip2/image/transforms.h"
#include "blip2/models/blip2_options.h"

namespace blip2 {

struct PictureBatch {
  at::Tensor pixels;  // [B, 3, S, S]
  std::vector<std::string> names;
  std::int64_t unreadable = 0;

  /** 0, or 2 where a picture could not be read. */
  int exit_code() const { return unreadable == 0 ? 0 : 2; }
};

/**
 * Reads what can be read and names the rest on standard error. Pictures are normalised as in the run's config. Throws
 * UserError when none can be read.
 */
inline PictureBatch load_pictures(const std::vector<std::string>& files, const nlohmann::json& run_config,
                                  const Blip2Options& model) {
  ImageTransformOptions transform;
  const auto pointer = nlohmann::json::json_pointer("/data/transform");
  if (run_config.contains(pointer)) {
    read_config(run_config.at(pointer), transform, "config.json", UnknownKeys::kIgnore);
  }
  transform.image_size = model.vision_config.image_size;
  PictureBatch batch;
  std::vector<at::Tensor> pictures;
  for (const auto& file : files) {
    try {
      const std::vector<float> values = evaluation_transform(load_image(file), transform);
      pictures.push_back(torch::tensor(values).view({3, transform.image_size, transform.image_size}));
      batch.names.push_back(file);
    } catch (const UserError& error) {
      std::cerr << error.what() << std::endl;
      ++batch.unreadable;
    }
  }
  if (pictures.empty()) throw UserError("none of the pictures could be read");
  batch.pixels = torch::stack(pictures);
  return batch;
}

}  // namespace blip2
