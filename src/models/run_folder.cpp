#include "blip2/models/run_folder.h"

#include <torch/torch.h>

#include "blip2/checkpoint/hugging_face.h"
#include "blip2/checkpoint/module_state.h"
#include "blip2/core/atomic_folder.h"
#include "blip2/core/config.h"
#include "blip2/core/error.h"
#include "blip2/models/published_folder.h"
#include "blip2/text/load_tokenizer.h"
#include "models/language_tensors.h"

namespace blip2 {
namespace {

/** FNV-1a, 64 bits. */
class Fingerprint {
 public:
  void add(const void* data, std::size_t size) {
    const auto* bytes = static_cast<const unsigned char*>(data);
    for (std::size_t i = 0; i < size; ++i) hash_ = (hash_ ^ bytes[i]) * 0x100000001b3ULL;
  }
  std::string text() const {
    char buffer[17];
    std::snprintf(buffer, sizeof buffer, "%016llx", static_cast<unsigned long long>(hash_));
    return buffer;
  }

 private:
  std::uint64_t hash_ = 0xcbf29ce484222325ULL;
};

const nlohmann::json& section(const nlohmann::json& config, const std::string& name,
                              const std::filesystem::path& folder) {
  const auto found = config.find(name);
  if (found == config.end()) {
    throw UserError("'" + folder.string() + "' is no folder of this kind of model: its config.json has no section '" +
                    name + "'");
  }
  return *found;
}

template <typename Options>
Options read_section(const nlohmann::json& config, const std::string& name, const std::filesystem::path& folder) {
  Options options;
  read_config(section(config, name, folder), options, (folder / "config.json").string(), UnknownKeys::kIgnore);
  return options;
}

LoadOptions from(const std::filesystem::path& folder, std::vector<std::string> ignore = {}) {
  LoadOptions options;
  options.source = folder.string();
  options.ignore = std::move(ignore);
  options.ignore.emplace_back("position_ids");
  return options;
}

/** Of a stage-1 config: a frozen tower is not in the checkpoint, only the norm behind it. */
struct VisionSection {
  bool frozen = true;
};

void visit_fields(FieldVisitor& visitor, VisionSection& options) {
  visitor.field("frozen", options.frozen);
}

/** Where the frozen part `name` of the run in `folder` lies, which is checked. */
std::string frozen_part(const nlohmann::json& config, const std::string& name, const std::filesystem::path& folder) {
  const std::filesystem::path weights = weights_folder(folder);
  ModelOrigin origin;
  read_config(section(section(config, "origins", weights), name, weights), origin, (weights / "config.json").string());
  check_origin(origin, folder.string());
  return origin.path;
}

/** What BLIP-2 does otherwise than the language model's own folder says. */
void adapt_to_blip2(LanguageModelOptions& options, const Tokenizer& tokenizer) {
  // OPT ends an answer at the newline that captions are trained with (LAVIS 4.2).
  const std::vector<std::int64_t> newline = tokenizer.encode("\n", /*add_special_tokens=*/false);
  if (options.model_type == "opt" && newline.size() == 1) options.opt.eos_token_id = newline.front();
  // FlanT5: the exact GELU in place of the tanh form (LAVIS 4.3).
  if (options.t5.is_gated_act && options.t5.dense_act_fn == "gelu_new") options.t5.dense_act_fn = "gelu";
}

/** How a run's pictures were prepared; `config` is the run's. */
ImageTransformOptions run_transform(const nlohmann::json& config, const std::filesystem::path& weights,
                                    std::int64_t image_size) {
  ImageTransformOptions transform;
  const auto pointer = nlohmann::json::json_pointer("/data/transform");
  if (config.contains(pointer)) {
    read_config(config.at(pointer), transform, (weights / "config.json").string(), UnknownKeys::kIgnore);
  }
  transform.image_size = image_size;
  return transform;
}

}  // namespace

void visit_fields(FieldVisitor& visitor, ModelOrigin& origin) {
  visitor.field("path", origin.path);
  visitor.field("fingerprint", origin.fingerprint);
}

std::filesystem::path weights_folder(const std::filesystem::path& folder) {
  const std::filesystem::path checkpoint = current_folder(folder / "checkpoint");
  return std::filesystem::exists(checkpoint) ? checkpoint : folder;
}

std::filesystem::path tokenizer_folder(const std::filesystem::path& folder) {
  return std::filesystem::exists(folder / "tokenizer") ? folder / "tokenizer" : folder;
}

ModelOrigin describe_origin(const std::filesystem::path& folder) {
  const ModelTensors tensors(weights_folder(folder));
  Fingerprint fingerprint;
  for (const std::string& name : tensors.names()) {
    const at::Tensor tensor = tensors.read(name).contiguous();
    fingerprint.add(name.data(), name.size());
    fingerprint.add(tensor.sizes().data(), tensor.sizes().size() * sizeof(std::int64_t));
    fingerprint.add(tensor.data_ptr(), std::min<std::size_t>(tensor.nbytes(), 4096));
  }
  return {std::filesystem::absolute(folder).lexically_normal().string(), fingerprint.text()};
}

void check_origin(const ModelOrigin& origin, const std::string& needed_by) {
  if (!std::filesystem::exists(origin.path)) {
    throw UserError("'" + needed_by + "' needs the frozen parts in '" + origin.path +
                    "', which is gone: put it back there");
  }
  if (describe_origin(origin.path).fingerprint != origin.fingerprint) {
    throw UserError("'" + needed_by + "' was trained on the weights in '" + origin.path +
                    "', which have changed since: restore them or train again");
  }
}

void load_vision_tower(VisionEncoderImpl& tower, const std::filesystem::path& folder) {
  LoadOptions load = from(weights_folder(folder), {"post_layernorm."});
  load.prefix = "vision_model.";
  const ModelTensors tensors(load.source);
  // Published towers hold the last block too, which BLIP-2 does not run.
  const std::string layers = load.prefix + "encoder.layers.";
  for (const std::string& name : tensors.names()) {
    if (name.rfind(layers, 0) != 0) continue;
    const std::string number = name.substr(layers.size(), name.find('.', layers.size()) - layers.size());
    const bool is_number =
        !number.empty() && number.size() < 6 && number.find_first_not_of("0123456789") == std::string::npos;
    if (is_number && std::stoll(number) >= tower.options().num_hidden_layers) {
      load.ignore.push_back("encoder.layers." + number + ".");
    }
  }
  load_parameters(tower, tensors, load);
}

RepresentationModel load_representation_model(const std::filesystem::path& folder) {
  const std::filesystem::path weights = weights_folder(folder);
  RepresentationModel result;
  result.config = load_model_config(weights);
  if (is_published(result.config)) return load_published_retrieval(weights);
  result.model = Blip2QFormer(read_section<Blip2Options>(result.config, "model", weights));
  const ModelTensors tensors(weights);
  if (read_section<VisionSection>(result.config, "vision", weights).frozen) {
    load_vision_tower(*result.model->vision_model, frozen_part(result.config, "vision", folder));
    load_parameters(*result.model, tensors,
                    from(weights, {"vision_model.embeddings.", "vision_model.encoder.", "vision_model.pre_layrnorm."}));
  } else {
    load_parameters(*result.model, tensors, from(weights));
  }
  result.tokenizer = load_tokenizer(tokenizer_folder(folder));
  result.transform = run_transform(result.config, weights, result.model->options().vision_config.image_size);
  result.model->eval();
  return result;
}

LanguageModelFolder load_language_model(const std::filesystem::path& folder) {
  const std::filesystem::path weights = weights_folder(folder);
  const nlohmann::json config = load_model_config(weights);
  LanguageModelFolder result;
  const bool published = config.contains("model_type");
  read_config(published ? config : section(config, "text_config", weights), result.options,
              (weights / "config.json").string(), UnknownKeys::kIgnore);
  result.tokenizer = load_tokenizer(tokenizer_folder(folder));
  const ModelTensors tensors(weights);
  const LanguageTensors stored = adapt_to_tensors(result.options, tensors, "");
  adapt_to_blip2(result.options, *result.tokenizer);
  WeightOptions read_next;
  read_next.initialize = false;
  result.model = make_language_model(result.options, read_next);
  LoadOptions load = from(weights, stored.copies);
  load.stored_as = stored.stored_as;
  load_parameters(result.model->module(), tensors, load);
  result.model->module().eval();
  return result;
}

GeneratorModel join_for_stage2(const std::filesystem::path& stage1, const std::filesystem::path& language_model) {
  RepresentationModel representation = load_representation_model(stage1);
  LanguageModelFolder language = load_language_model(language_model);
  Blip2GeneratorOptions options;
  static_cast<Blip2Options&>(options) = representation.model->options();
  options.text_config = language.options;
  GeneratorModel result;
  result.model = Blip2Generator(options);
  result.tokenizer = std::move(language.tokenizer);
  NamedTensors tensors = named_parameters(*representation.model);
  for (const auto& [name, tensor] : named_parameters(language.model->module()))
    tensors["language_model." + name] = tensor;
  LoadOptions load = from(stage1, {"language_projection."});
  load.strict = false;  // stage 1's text side and heads have no place in stage 2
  const LoadReport report = load_parameters(*result.model, tensors, load);
  TORCH_CHECK(report.missing.empty(), "stage 2: nothing to fill ", report.missing.front(), " with");
  result.model->eval();
  return result;
}

GeneratorModel load_generator_model(const std::filesystem::path& folder) {
  const std::filesystem::path weights = weights_folder(folder);
  const nlohmann::json config = load_model_config(weights);
  if (is_published(config)) return load_published_generator(weights);
  GeneratorModel result =
      join_for_stage2(frozen_part(config, "stage1", folder), frozen_part(config, "language_model", folder));
  result.config = config;
  result.model->freeze();
  load_parameters(*result.model, ModelTensors(weights),
                  from(weights, {"language_model.", "vision_model.embeddings.", "vision_model.encoder.",
                                 "vision_model.pre_layrnorm."}));
  result.transform = run_transform(config, weights, result.model->options().vision_config.image_size);
  result.model->eval();
  return result;
}

}  // namespace blip2
