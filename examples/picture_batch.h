// Pictures named on the command line in batches, as the model saw them in evaluation.
#pragma once

#include <torch/torch.h>

#include <CLI/CLI.hpp>
#include <functional>
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
};

/**
 * Calls `work` with what can be read, `size` pictures at a time, and names the rest on standard error as `program`
 * would; `transform` is the model's. Returns the exit code: 2 where a picture could not be read. Throws UserError when
 * none can.
 */
inline int for_each_batch(const std::string& program, const std::vector<std::string>& files,
                          const ImageTransformOptions& transform, std::size_t size,
                          const std::function<void(const PictureBatch&)>& work) {
  PictureBatch batch;
  std::vector<at::Tensor> pictures;
  std::size_t done = 0;
  const auto work_off = [&] {
    if (pictures.empty()) return;
    batch.pixels = torch::stack(pictures);
    work(batch);
    std::cout.flush();
    done += pictures.size();
    pictures.clear();
    batch.names.clear();
  };
  for (const auto& file : files) {
    try {
      const std::vector<float> values = evaluation_transform(load_image(file), transform);
      pictures.push_back(torch::tensor(values).view({3, transform.image_size, transform.image_size}));
      batch.names.push_back(file);
    } catch (const UserError& error) {
      if (files.size() == 1) throw;
      std::cerr << program << ": " << error.what() << std::endl;
    }
    if (pictures.size() == size) work_off();
  }
  work_off();
  if (done == 0) throw UserError("none of the pictures could be read");
  return done == files.size() ? 0 : 2;
}

/** Throws WorldError unless all that was computed are numbers. */
inline void check_numbers(const at::Tensor& computed) {
  if (computed.isfinite().all().item<bool>()) return;
  throw WorldError(
      "the model computes values that are no numbers (NaN or infinite): its weights are damaged, or its training went "
      "astray");
}

/** `--batch-size N`, for for_each_batch(). */
inline void add_batch_size_option(CLI::App& app, std::size_t& size) {
  app.add_option("--batch-size", size, "Pictures that are computed together")
      ->check(CLI::Range(std::size_t{1}, std::size_t{1024}))
      ->capture_default_str();
}

/** One line of JSON. File names and cut captions need not be UTF-8; what is not becomes U+FFFD. */
inline std::string json_line(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace blip2
