// Pictures named on the command line as one batch, as the model saw them in evaluation.
#pragma once

#include <torch/torch.h>

#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "blip2/core/error.h"
#include "blip2/image/transforms.h"

namespace blip2 {

struct PictureBatch {
  at::Tensor pixels;  // [B, 3, S, S]
  std::vector<std::string> names;
  std::int64_t unreadable = 0;

  /** 0, or 2 where a picture could not be read. */
  int exit_code() const { return unreadable == 0 ? 0 : 2; }
};

/**
 * Reads what can be read and names the rest on standard error as `program` would; `transform` is the model's. Throws
 * UserError when none can be read.
 */
inline PictureBatch load_pictures(const std::string& program, const std::vector<std::string>& files,
                                  const ImageTransformOptions& transform) {
  PictureBatch batch;
  std::vector<at::Tensor> pictures;
  for (const auto& file : files) {
    try {
      const std::vector<float> values = evaluation_transform(load_image(file), transform);
      pictures.push_back(torch::tensor(values).view({3, transform.image_size, transform.image_size}));
      batch.names.push_back(file);
    } catch (const UserError& error) {
      if (files.size() == 1) throw;
      std::cerr << program << ": " << error.what() << std::endl;
      ++batch.unreadable;
    }
  }
  if (pictures.empty()) throw UserError("none of the pictures could be read");
  batch.pixels = torch::stack(pictures);
  return batch;
}

/** One line of JSON. File names and cut captions need not be UTF-8; what is not becomes U+FFFD. */
inline std::string json_line(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace blip2
