// Times captioning part by part, beside the limits of the machine: how fast it multiplies and reads memory. One JSON
// object; scripts/benchmark_caption.py runs it next to Hugging Face's transformers.
#include <sys/resource.h>
#include <torch/torch.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>

#include "blip2/core/error.h"
#include "blip2/generate/generate.h"
#include "blip2/image/image.h"
#include "blip2/image/transforms.h"
#include "blip2/models/run_folder.h"

namespace {

using blip2::WeightFormat;

double seconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/** The shortest of a few runs. */
double best(int runs, const std::function<void()>& work) {
  double shortest = seconds(work);
  for (int i = 1; i < runs; ++i) shortest = std::min(shortest, seconds(work));
  return shortest;
}

double gflops() {
  const at::Tensor a = torch::randn({2048, 2048}), b = torch::randn({2048, 2048});
  return 2.0 * 2048 * 2048 * 2048 / best(5, [&] { at::matmul(a, b); }) / 1e9;
}

double read_gb_per_second() {
  const at::Tensor large = torch::ones({std::int64_t{1} << 28});
  return static_cast<double>(large.nbytes()) / best(5, [&] { large.sum(); }) / 1e9;
}

/** Bytes of the language model that a token step reads: every layer and the head, but no row of a table. */
std::int64_t bytes_per_token(blip2::LanguageModel& model) {
  std::int64_t bytes = 0;
  for (const auto& item : model.module().named_parameters()) {
    const bool is_layer =
        item.key().find("layer") != std::string::npos || item.key().find("block") != std::string::npos;
    const bool is_encoder = item.key().starts_with("encoder.");
    const bool is_head = item.key() == "lm_head.weight" || item.key().find("embed_tokens") != std::string::npos;
    if ((is_layer && !is_encoder) || is_head) bytes += static_cast<std::int64_t>(item.value().nbytes());
  }
  return bytes;
}

/** Multiplications and additions of the image encoder for one picture, in 1e9. */
double vision_gflop(const blip2::VisionOptions& options) {
  const auto width = static_cast<double>(options.hidden_size), inner = static_cast<double>(options.intermediate_size);
  const auto side = static_cast<double>(options.image_size / options.patch_size), tokens = side * side + 1;
  const double layer = 2 * tokens * (4 * width * width + 2 * width * inner) + 4 * tokens * tokens * width;
  return layer * static_cast<double>(options.num_hidden_layers) / 1e9;
}

struct Arguments {
  std::string model, weights = "float32", picture;
  std::int64_t beams = 1, tokens = 20, batch = 1;
  int threads = 0, repeat = 3;
};

WeightFormat format_of(const std::string& name) {
  return name == "float32" ? WeightFormat::kFloat32 : blip2::inference_format(name == "stored" ? "none" : name);
}

nlohmann::json one_run(blip2::GeneratorModel& loaded, const at::Tensor& pixels, const Arguments& arguments) {
  blip2::Blip2Generator& model = loaded.model;
  const std::int64_t batch = pixels.size(0);
  at::Tensor image_tokens, image_prompt;
  nlohmann::json run;
  if (!arguments.picture.empty()) {
    run["picture_s"] =
        seconds([&] { blip2::evaluation_transform(blip2::load_image(arguments.picture), loaded.transform); });
  }
  run["vision_s"] = seconds([&] { image_tokens = model->vision_model->forward(pixels); });
  run["qformer_s"] = seconds([&] { image_prompt = model->project_image_tokens(image_tokens); });
  const at::Tensor start = torch::full({batch, 1}, model->language_model->special_ids().beginning, torch::kLong);
  blip2::GenerationPrompt request;
  request.prompt = model->prompt(image_prompt, {start, torch::ones_like(start)});
  run["prompt_s"] = seconds([&] { model->language_model->begin(request.prompt); });
  blip2::GenerationOptions options;
  options.num_beams = arguments.beams;
  options.max_new_tokens = options.min_new_tokens = arguments.tokens;
  const double search = seconds([&] { blip2::generate(*model->language_model, request, options); });
  // The first token comes with the prompt.
  run["token_s"] = (search - run["prompt_s"].get<double>()) / static_cast<double>(arguments.tokens - 1);
  run["total_s"] = run["vision_s"].get<double>() + run["qformer_s"].get<double>() + search;
  return run;
}

nlohmann::json measure(const Arguments& arguments) {
  if (arguments.threads > 0) at::set_num_threads(arguments.threads);
  const torch::NoGradGuard no_grad;
  nlohmann::json result = {{"weights", arguments.weights},
                           {"beams", arguments.beams},
                           {"new", arguments.tokens},
                           {"batch", arguments.batch},
                           {"threads", at::get_num_threads()}};
  blip2::GeneratorModel loaded;
  result["load_s"] =
      seconds([&] { loaded = blip2::load_generator_model(arguments.model, format_of(arguments.weights)); });
  torch::manual_seed(0);
  const std::int64_t size = loaded.model->options().vision_config.image_size;
  const at::Tensor pixels = torch::randn({arguments.batch, 3, size, size});
  for (int i = 0; i < arguments.repeat; ++i) result["runs"].push_back(one_run(loaded, pixels, arguments));
  struct rusage usage {};
  getrusage(RUSAGE_SELF, &usage);
  std::int64_t bytes = 0;
  for (const auto& parameter : loaded.model->parameters()) bytes += static_cast<std::int64_t>(parameter.nbytes());
  result["weights_gb"] = static_cast<double>(bytes) / 1e9;
  result["peak_rss_gb"] = static_cast<double>(usage.ru_maxrss) * 1024 / 1e9;
  result["token_bytes_gb"] = static_cast<double>(bytes_per_token(*loaded.model->language_model)) / 1e9;
  result["vision_gflop"] = vision_gflop(loaded.model->options().vision_config) * static_cast<double>(arguments.batch);
  result["machine_gflops"] = gflops();
  result["machine_read_gb_s"] = read_gb_per_second();
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Times captioning part by part", "caption_benchmark"};
  Arguments arguments;
  app.add_option("--model", arguments.model, "Published BLIP-2 folder")->required();
  app.add_option("--weights", arguments.weights, "float32, stored, int8, int8-fast or int4")
      ->check(CLI::IsMember({"float32", "stored", "int8", "int8-fast", "int4"}));
  app.add_option("--picture", arguments.picture, "A picture file to time the decoding and resizing of");
  app.add_option("--beams", arguments.beams);
  app.add_option("--new", arguments.tokens, "New tokens, at least 2")->check(CLI::Range(2, 1000));
  app.add_option("--batch", arguments.batch, "Pictures");
  app.add_option("--threads", arguments.threads, "0: the machine's");
  app.add_option("--repeat", arguments.repeat);
  CLI11_PARSE(app, argc, argv);
  return blip2::run_program("caption_benchmark", [&] {
    std::cout << measure(arguments).dump() << std::endl;
    return 0;
  });
}
