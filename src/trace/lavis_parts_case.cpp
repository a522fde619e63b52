// The parts around the models: CLIP's image encoder, resized position tables, pictures and texts on their way in.
#include <torch/torch.h>

#include "blip2/checkpoint/module_state.h"
#include "blip2/core/config.h"
#include "blip2/image/rand_augment.h"
#include "blip2/image/transforms.h"
#include "blip2/text/text_processors.h"
#include "blip2/vision/clip_vit.h"
#include "blip2/vision/patch_embedding.h"
#include "trace/lavis_case.h"
#include "trace/lavis_model.h"

namespace blip2 {
namespace {

using nlohmann::json;

Image image_of(const at::Tensor& pixels) {
  const at::Tensor own = pixels.contiguous();
  const auto* begin = own.const_data_ptr<std::uint8_t>();
  return {own.size(0), own.size(1), {begin, begin + own.numel()}};
}

at::Tensor tensor_of(const Image& image) {
  return torch::tensor(at::ArrayRef<std::uint8_t>(image.pixels), torch::kByte).view({image.height, image.width, 3});
}

/** Only the blocks that BLIP-2 runs. */
NamedTensors tower_of(const NamedTensors& tensors, std::int64_t layers) {
  NamedTensors tower;
  const std::string prefix = "vision_model.", blocks = "encoder.layers.";
  for (const auto& [full_name, tensor] : tensors) {
    const std::string name = full_name.substr(prefix.size());
    if (name.starts_with(blocks) && std::stoll(name.substr(blocks.size())) >= layers) continue;
    tower.emplace(name, tensor);
  }
  return tower;
}

void add_transformed(const Image& image, const ImageTransformOptions& options, const std::string& name,
                     NamedTensors& trace) {
  const std::int64_t side = options.image_size;
  trace[name + "_uint8"] = tensor_of(image);
  trace[name] = torch::tensor(at::ArrayRef<float>(normalize(image, options.mean, options.std))).view({3, side, side});
}

}  // namespace

void run_lavis_clip_vit(CaseRun& run) {
  const torch::NoGradGuard no_grad;
  const std::filesystem::path config = run.folder / "blip2_config.json", file = run.folder / "model_full.safetensors";
  VisionOptions options;
  read_config(load_json(config), options, config.string(), UnknownKeys::kIgnore);
  ClipVit vit(options);
  LoadOptions load;
  load.source = file.string();
  load.ignore = {"post_layernorm."};  // BLIP-2's own, which the case does not run
  load_parameters(*vit, tower_of(from_lavis(load_safetensors(file), file.string()).tensors, options.num_hidden_layers),
                  load);
  vit->to(run.dtype());
  std::vector<at::Tensor> states;
  run.trace["output"] = vit->encode(run.input("image"), /*interpolate=*/false, &states);
  run.trace["after_ln_pre"] = states.front();
  for (std::size_t i = 1; i < states.size(); ++i) run.trace["after_block." + std::to_string(i - 1)] = states[i];
}

void run_lavis_positions(CaseRun& run) {
  for (const auto& [name, stored] : run.inputs) {
    // TOWER.FROM_to_TO
    const std::int64_t to = std::stoll(name.substr(name.rfind('_') + 1));
    const at::Tensor table = run.input(name);
    if (name.starts_with("eva.")) {
      run.trace[name] = interpolate_positions(table.squeeze(0), to, to, GridAlignment::kPixelCentres).unsqueeze(0);
    } else {
      run.trace[name] = interpolate_positions(table, to, to, GridAlignment::kCorners);
    }
  }
}

void run_lavis_rand_augment(CaseRun& run) {
  for (const json& asked : run.asked.at("operations")) {
    Augmentation augmentation{parse_augment_operation(asked.at("op")), asked.at("level"), /*negative=*/false};
    augmentation.negative = has_sign(augmentation.operation) && asked.at("args").at(0).get<double>() < 0;
    const Image image = image_of(run.input(asked.at("image")));
    run.trace[asked.at("key")] = tensor_of(augment(image, augmentation, /*lavis_overflow=*/true));
  }
  for (const auto& [name, pixels] : run.inputs) {
    for (const std::string operation : {"AutoContrast", "Equalize"}) {
      run.trace[name + "." + operation + ".pillow"] =
          tensor_of(augment(image_of(pixels), {parse_augment_operation(operation)}));
    }
  }
  if (!run.has_input("photo")) return;
  const Image rotated = augment(image_of(run.input("photo")), {AugmentOperation::kRotate});
  run.trace["photo.Rotate15_then_TranslateX-5"] =
      tensor_of(augment(rotated, {AugmentOperation::kTranslateX, 5, /*negative=*/true}));
}

void run_lavis_image_transforms(CaseRun& run) {
  ImageTransformOptions options;
  options.image_size = run.asked.at("size");
  const std::int64_t side = options.image_size;
  for (const auto& [name, pixels] : run.inputs) {
    add_transformed(resize_bicubic(image_of(pixels), side, side), options, name + ".eval", run.trace);
  }
  for (const json& asked : run.asked.at("crops")) {
    const std::string key = asked.at("key");
    const Image image = image_of(run.input(key.substr(0, key.find('.'))));
    const CropBox box{asked.at("top"), asked.at("left"), asked.at("height"), asked.at("width")};
    const Image resized = resize_bicubic(crop(image, box), side, side);
    add_transformed(asked.at("flip").get<bool>() ? flip_horizontal(resized) : resized, options, key, run.trace);
  }
}

void run_lavis_text_processors(CaseRun& run) {
  const std::string prompt = run.asked.at("prompt");
  for (const json& row : run.asked.at("rows")) {
    const std::string text = row.at("text");
    run.answers["rows"].push_back({{"text", text},
                                   {"blip_caption", process_caption(text)},
                                   {"blip_caption_prompt", process_caption(text, 50, prompt)},
                                   {"blip_caption_max5", process_caption(text, 5)},
                                   {"blip_question", process_question(text)},
                                   {"blip_question_max5", process_question(text, 5)}});
  }
}

}  // namespace blip2
