// Times one step of stage 1 (image encoder; forward and backward of the Q-Former; AdamW) beside the machine's limit.
// Random weights, a frozen image encoder, dropout 0.1. One JSON object; scripts/benchmark_stage1.py runs it in turn
// with LAVIS.
#include <sys/resource.h>
#include <torch/torch.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>

#include "blip2/checkpoint/module_state.h"
#include "blip2/core/error.h"
#include "blip2/core/weight_memory.h"
#include "blip2/models/blip2_qformer.h"
#include "blip2/nn/activation_checkpointing.h"
#include "blip2/nn/autocast.h"
#include "blip2/nn/linear.h"
#include "blip2/text/load_tokenizer.h"
#include "blip2/train/optimizer.h"

namespace {

using nlohmann::json;

const std::vector<std::string> kCaptions = {
    "a man riding a wave on top of a surfboard",
    "two dogs playing with a red ball in the green grass of a park",
    "a kitchen with a stove, a microwave and a wooden table",
    "the train is arriving at the station",
    "a group of people sitting around a table eating pizza and drinking beer on a sunny day",
    "a cat",
    "an airplane flying high above the clouds in a clear blue sky",
    "three zebras standing next to each other near a small lake",
};

struct Arguments {
  std::string preset = "small", tokenizer;
  std::int64_t batch = 8, steps = 5;
  int threads = 0;
  double dropout = 0.1;
  bool cached = false, checkpointing = false;
  std::string precision = "float32";
};

double seconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/** What the best library product of the precision does with large matrices. */
double machine_gflops() {
  const torch::NoGradGuard no_grad;
  const at::Tensor a = torch::randn({2048, 2048}), b = torch::randn({2048, 2048});
  double shortest = 1e9;
  for (int i = 0; i < 5; ++i) shortest = std::min(shortest, seconds([&] { blip2::apply_linear(a, b); }));
  return 2.0 * 2048 * 2048 * 2048 / shortest / 1e9;
}

/** The presets of LAVIS's timing: `full` is BLIP-2 with ViT-g, `small` has a ViT of 12 x 384. */
blip2::Blip2Options options_of(const Arguments& arguments) {
  blip2::Blip2Options options;
  if (arguments.preset == "small") {
    auto& vision = options.vision_config;
    vision.hidden_size = 384;
    vision.num_hidden_layers = 12;
    vision.num_attention_heads = 6;
    vision.intermediate_size = 1536;
    vision.patch_size = 16;
  }
  options.qformer_config.vocab_size = 30523;
  options.qformer_config.hidden_dropout_prob = arguments.dropout;
  options.qformer_config.attention_probs_dropout_prob = arguments.dropout;
  return options;
}

/** A frozen ViT-g as training keeps it: published in float16. */
void keep_as_published(torch::nn::Module& tower) {
  for (const auto& module : tower.modules(/*include_self=*/false)) {
    auto* layer = module->as<blip2::LinearImpl>();
    if (layer == nullptr) continue;
    at::Tensor stored = blip2::empty_weight(layer->weight.sizes(), at::kHalf);
    layer->weight.set_data(stored.copy_(layer->weight));
  }
}

/** Multiplications and additions of the tower's forward pass, in 1e9. */
double vision_gflop(const blip2::VisionOptions& options, std::int64_t batch) {
  const auto width = static_cast<double>(options.hidden_size), inner = static_cast<double>(options.intermediate_size);
  const auto tokens = static_cast<double>(options.num_patches() + 1);
  const double layer = 2 * tokens * (4 * width * width + 2 * width * inner) + 4 * tokens * tokens * width;
  return layer * static_cast<double>(options.num_hidden_layers * batch) / 1e9;
}

/** The same of the Q-Former's passes as they are needed: text without padding, words only where they are predicted. */
double qformer_gflop(const blip2::Blip2Options& options, const blip2::TextTokens& text, std::int64_t batch) {
  const auto& q = options.qformer_config;
  const auto width = static_cast<double>(q.hidden_size), inner = static_cast<double>(q.intermediate_size);
  const auto layers = static_cast<double>(q.num_hidden_layers), b = static_cast<double>(batch);
  const double token = 2 * (4 * width * width + 2 * width * inner) * layers;  // self-attention and feed-forward
  const double crossings = std::ceil(layers / static_cast<double>(q.cross_attention_frequency));
  const double query = token + 2 * 2 * width * width * crossings;  // asks the picture too
  const auto words = text.mask.sum().item<double>(), queries = static_cast<double>(options.num_query_tokens);
  const double keys = 4 * static_cast<double>(options.vision_config.num_patches() + 1) * width *
                      static_cast<double>(options.vision_config.hidden_size) * crossings * b;
  const double predicted = 2 * (words - b) * width * static_cast<double>(q.vocab_size);
  return (4 * b * queries * query + (2 + 3) * words * token + keys + predicted) / 1e9;
}

json run(const Arguments& arguments) {
  if (arguments.threads > 0) at::set_num_threads(arguments.threads);
  blip2::keep_freed_memory();  // as the trainer does
  const blip2::GradientsInPlace in_place;
  const blip2::ActivationCheckpointing checkpointing(arguments.checkpointing);
  const blip2::Autocast half_precision(blip2::precision_from_name(arguments.precision), at::kCPU);
  torch::manual_seed(1);
  const blip2::Blip2Options options = options_of(arguments);
  blip2::Blip2QFormer model(options);
  model->vision_model->freeze();
  if (arguments.preset == "full") keep_as_published(*model->vision_model);
  model->train();
  blip2::AdamW optimizer(blip2::trainable_parameters(*model), {});
  blip2::RepresentationBatch batch;
  std::vector<std::string> captions;
  for (std::int64_t i = 0; i < arguments.batch; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const std::string again = at >= kCaptions.size() ? " " + std::to_string(i) : "";
    captions.push_back(kCaptions[at % kCaptions.size()] + again);
  }
  batch.text = blip2::tokenize(*blip2::load_tokenizer(arguments.tokenizer), captions, {.max_length = 32});
  const std::int64_t side = options.vision_config.image_size;
  const at::Tensor pixels = torch::randn({arguments.batch, 3, side, side});
  json result = {{"preset", arguments.preset},
                 {"batch", arguments.batch},
                 {"threads", at::get_num_threads()},
                 {"cached", arguments.cached},
                 {"words", batch.text.mask.sum().item<std::int64_t>()},
                 {"columns", batch.text.ids.size(1)}};
  for (std::int64_t i = 0; i < arguments.steps; ++i) {
    blip2::RepresentationLosses losses;
    double vision = 0;
    if (!arguments.cached || i == 0) {
      const torch::NoGradGuard no_grad;
      vision = seconds([&] { batch.tower_output = model->vision_model->encode(pixels); });
    }
    const double qformer = seconds([&] { losses = model->add_gradients(batch, {}, blip2::single_process_group()); });
    const double optimize = seconds([&] {
      optimizer.step(1e-4);
      optimizer.zero_gradients();
    });
    const double seen = arguments.cached ? 0 : vision;
    result["runs"].push_back({{"vision_s", seen},
                              {"qformer_s", qformer},
                              {"optimizer_s", optimize},
                              {"step_s", seen + qformer + optimize},
                              {"loss", losses.total.item<double>()}});
  }
  struct rusage usage {};
  getrusage(RUSAGE_SELF, &usage);
  result["peak_rss_mb"] = usage.ru_maxrss / 1024;
  result["vision_gflop"] = vision_gflop(options.vision_config, arguments.batch);
  result["qformer_gflop"] = qformer_gflop(options, batch.text, arguments.batch);
  result["machine_gflops"] = machine_gflops();
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Times one step of stage 1", "stage1_step_benchmark"};
  Arguments arguments;
  app.add_option("--preset", arguments.preset, "small or full (ViT-g)")->check(CLI::IsMember({"small", "full"}));
  app.add_option("--tokenizer", arguments.tokenizer, "Folder with BERT's vocab.txt")->required();
  app.add_option("--batch", arguments.batch)->check(CLI::Range(1, 1024));
  app.add_option("--steps", arguments.steps)->check(CLI::Range(1, 1000));
  app.add_option("--threads", arguments.threads, "0: the machine's");
  app.add_option("--dropout", arguments.dropout);
  app.add_flag("--cached", arguments.cached, "The image encoder's output lies ready, as with data.feature_cache");
  app.add_flag("--checkpointing", arguments.checkpointing, "As train.activation_checkpointing");
  app.add_option("--precision", arguments.precision, "As train.precision");
  CLI11_PARSE(app, argc, argv);
  return blip2::run_program("stage1_step_benchmark", [&] {
    std::cout << run(arguments).dump() << std::endl;
    return 0;
  });
}
