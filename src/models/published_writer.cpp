#include "blip2/models/published_writer.h"

#include <torch/torch.h>

#include "blip2/checkpoint/hugging_face.h"
#include "blip2/checkpoint/module_state.h"
#include "blip2/core/atomic_file.h"
#include "blip2/core/atomic_folder.h"
#include "blip2/core/error.h"
#include "blip2/core/output_path.h"
#include "blip2/models/published_target.h"
#include "blip2/text/tokenizer_export.h"
#include "core/in_quotes.h"
#include "models/published_config.h"
#include "models/stage1_heads.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::pair<const char*, at::ScalarType> kDtypes[] = {
    {"float32", at::kFloat}, {"bfloat16", at::kBFloat16}, {"float16", at::kHalf}};

std::string dtype_name(at::ScalarType dtype) {
  for (const auto& [name, value] : kDtypes) {
    if (value == dtype) return name;
  }
  TORCH_CHECK(false, "save_published: expected float32, bfloat16 or float16, got ", dtype);
}

/** What transformers keeps in float32 where float16 is asked for (its _keep_in_fp32_modules). */
bool stays_float32(const std::string& name) {
  const auto begins = [&](const std::string& start) { return name.starts_with(start); };
  return begins("query_tokens") || begins("qformer.") ||
         (begins("language_model.") && name.find(".DenseReluDense.wo.") != std::string::npos);
}

at::Tensor converted(const std::string& name, const at::Tensor& tensor, at::ScalarType dtype) {
  TORCH_CHECK(at::isFloatingType(tensor.scalar_type()), "save_published: ", name, " holds rounded integers (",
              tensor.scalar_type(), "): load the model with WeightFormat::kFloat32 or kAsStored");
  if (dtype != at::kHalf) return tensor.detach().to(dtype);
  if (stays_float32(name)) return tensor.detach().to(at::kFloat);
  const at::Tensor half = tensor.detach().to(dtype);
  if (half.isfinite().all().item<bool>() || !tensor.isfinite().all().item<bool>()) return half;
  throw UserError("a value of " + in_quotes(name) + " is too large for float16: export to bfloat16 or float32");
}

NamedTensors published_tensors(const torch::nn::Module& module, at::ScalarType dtype) {
  NamedTensors tensors;
  for (const auto& [name, parameter] : named_parameters(module)) {
    if (!is_stage1_head(name)) tensors.emplace(name, converted(name, parameter, dtype));
  }
  return tensors;
}

void check_image_encoder(const VisionOptions& options) {
  if (options.model_type == "blip_2_vision_model") return;
  throw UserError("Hugging Face's BLIP-2 has no class for the image encoder " + in_quotes(options.model_type) +
                  ", expected blip_2_vision_model (EVA ViT): such a model runs from its own folder only");
}

std::vector<std::string> differences(const Blip2Options& options) {
  const double own = options.vision_config.post_layer_norm_eps, others = options.vision_config.layer_norm_eps;
  if (own < 0 || own == others) return {};
  return {"Python computes vision_model.post_layernorm with an eps of " + json(others).dump() + ", this model has " +
          json(own).dump() + " (vision_config.post_layer_norm_eps)"};
}

void write_json(const fs::path& file, const json& object) {
  write_file_atomically(file, object.dump(2) + "\n");
}

/** `write` fills the folder, which then takes its place. */
void write_folder(const fs::path& folder, const std::function<void(const fs::path&)>& write) {
  try {
    check_published_target(folder);
    prepare_output(folder);
    AtomicFolder target(folder);
    write(target.path());
    target.commit();
  } catch (const fs::filesystem_error& error) {
    throw WorldError("cannot write '" + folder.string() + "': " + error.code().message());
  }
}

}  // namespace

at::ScalarType export_dtype(const std::string& name) {
  for (const auto& [known, value] : kDtypes) {
    if (name == known) return value;
  }
  throw UserError("cannot export weights as " + in_quotes(name) + ": expected float32, bfloat16 or float16");
}

std::vector<std::string> save_published(const GeneratorModel& generator, const fs::path& folder,
                                        const ExportOptions& options) {
  Blip2GeneratorOptions model = generator.model->options();
  check_image_encoder(model.vision_config);
  const bool is_t5 = model.text_config.model_type == "t5";
  const std::int64_t rows = is_t5 ? model.text_config.t5.vocab_size : model.text_config.opt.vocab_size;
  auto& t5 = model.text_config.t5;
  if (is_t5 && !t5.bos_token_id) t5.bos_token_id = t5.eos_token_id;  // as published; Python begins captions with it
  if (!model.image_token_index) model.image_token_index = image_token_id(*generator.tokenizer, rows);
  write_folder(folder, [&](const fs::path& target) {
    write_json(target / "config.json", generator_config(model, dtype_name(options.dtype)));
    write_json(target / "generation_config.json", generation_config(model.text_config));
    write_json(target / "preprocessor_config.json", preprocessor_config(generator.transform));
    write_json(target / "processor_config.json", processor_config(model.num_query_tokens));
    export_tokenizer(*generator.tokenizer, target,
                     {model.image_token_index, is_t5 ? PaddingSide::kRight : PaddingSide::kLeft});
    save_model_tensors(published_tensors(*generator.model, options.dtype), target, options.largest_file);
  });
  return differences(model);
}

std::vector<std::string> save_published(const RepresentationModel& retrieval, const fs::path& folder,
                                        const ExportOptions& options) {
  const Blip2Options& model = retrieval.model->options();
  check_image_encoder(model.vision_config);
  std::optional<std::int64_t> placeholders;
  if (model.image_token_index) placeholders = model.num_query_tokens;
  const bool new_heads = has_new_stage1_heads(*retrieval.model);
  write_folder(folder, [&](const fs::path& target) {
    write_json(target / "config.json", retrieval_config(model, dtype_name(options.dtype)));
    write_json(target / "preprocessor_config.json", preprocessor_config(retrieval.transform));
    write_json(target / "processor_config.json", processor_config(placeholders));
    export_tokenizer(*retrieval.tokenizer, target);
    if (!new_heads) save_stage1_heads(*retrieval.model, target);
    save_model_tensors(published_tensors(*retrieval.model, options.dtype), target, options.largest_file);
  });
  std::vector<std::string> notes = differences(model);
  if (new_heads) {
    notes.push_back("no " + std::string(kStage1HeadsFile) +
                    " was written: the head for text generation and the temperature were never trained");
  }
  return notes;
}

}  // namespace blip2
