#include "trace/lavis_model.h"

#include <torch/torch.h>

#include "blip2/checkpoint/module_state.h"
#include "blip2/core/config.h"
#include "blip2/core/error.h"
#include "models/blip2_language.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

/** Language models share their table of words, which the files hold once for each use. */
void drop_copies(NamedTensors& tensors) {
  const std::string opt = "language_model.model.decoder.embed_tokens.weight", t5 = "language_model.shared.weight";
  const std::string& table = tensors.count(t5) != 0 ? t5 : opt;
  if (tensors.count(table) == 0) return;
  const at::Tensor words = tensors.at(table);
  for (const std::string copy : {"lm_head.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"}) {
    const auto found = tensors.find("language_model." + copy);
    if (found != tensors.end() && torch::equal(found->second, words)) tensors.erase(found);
  }
}

void fill(torch::nn::Module& module, const fs::path& folder, at::ScalarType dtype) {
  const fs::path file = folder / "model.safetensors";
  LoadOptions load;
  load.source = file.string();
  NamedTensors tensors = from_lavis(load_safetensors(file), file.string()).tensors;
  drop_copies(tensors);
  load_parameters(module, tensors, load);
  module.to(dtype);
  module.eval();
}

/** LAVIS has no bias for the keys, whose true gradient is 0: what is there is rounding noise. */
at::Tensor without_key_bias(const std::string& name, const at::Tensor& tensor) {
  if (!name.ends_with("self_attn.qkv.bias")) return tensor;
  const at::Tensor result = tensor.clone();
  result.chunk(3)[1].zero_();
  return result;
}

}  // namespace

fs::path beside(const CaseRun& run, const std::string& name) {
  fs::path own = fs::absolute(run.folder).lexically_normal();
  if (!own.has_filename()) own = own.parent_path();  // given with a slash behind it
  const fs::path folder = own.parent_path() / name;
  if (!fs::exists(folder)) {
    throw UserError("'" + run.folder.string() + "' needs the folder '" + name + "' beside it, which is not there");
  }
  return folder;
}

Blip2QFormer load_lavis_qformer(const CaseRun& run, const std::string& name, bool frozen_vision) {
  const fs::path folder = beside(run, name);
  Blip2Options options;
  const fs::path config = folder / "blip2_config.json";
  read_config(load_json(config), options, config.string(), UnknownKeys::kIgnore);
  Blip2QFormer model(options);
  fill(*model, folder, run.dtype());
  if (frozen_vision) model->vision_model->freeze();
  return model;
}

Blip2Generator load_lavis_generator(const CaseRun& run, const std::string& name, const Tokenizer& tokenizer) {
  const fs::path folder = beside(run, name);
  Blip2GeneratorOptions options;
  const fs::path config = folder / "blip2_config.json";
  read_config(load_json(config), options, config.string(), UnknownKeys::kIgnore);
  adapt_to_blip2(options.text_config, tokenizer);
  options.text_config.t5.float32_variance = true;  // LAVIS's normalisation does so, in float64 too
  Blip2Generator model(options);
  fill(*model, folder, run.dtype());
  model->freeze();
  return model;
}

NamedTensors under_lavis_names(const NamedTensors& tensors, LavisModel model, const std::string& prefix) {
  NamedTensors given;
  for (const auto& [name, tensor] : tensors) given.emplace(name, without_key_bias(name, tensor));
  NamedTensors result;
  for (auto& [name, tensor] : to_lavis(given, model, /*positions=*/0, "the trace").tensors) {
    // What LAVIS's files hold twice or make from nothing is no parameter.
    if (name.ends_with("position_ids") || name.starts_with("Qformer.cls.predictions.decoder.")) continue;
    result.emplace(prefix + name, tensor);
  }
  return result;
}

NamedTensors lavis_gradients(const torch::nn::Module& module, LavisModel model, const std::string& prefix) {
  NamedTensors gradients;
  for (const auto& [name, parameter] : named_parameters(module)) {
    if (parameter.grad().defined()) gradients.emplace(name, parameter.grad());
  }
  return under_lavis_names(gradients, model, prefix + "grad.");
}

}  // namespace blip2
