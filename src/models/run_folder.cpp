#include "blip2/models/run_folder.h"

#include <torch/torch.h>

#include "blip2/checkpoint/hugging_face.h"
#include "blip2/checkpoint/module_state.h"
#include "blip2/core/atomic_folder.h"
#include "blip2/core/config.h"
#include "blip2/core/error.h"
#include "blip2/text/load_tokenizer.h"

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

RepresentationModel load_representation_model(const std::filesystem::path& folder) {
  const std::filesystem::path weights = weights_folder(folder);
  RepresentationModel result;
  result.config = load_model_config(weights);
  result.model = Blip2QFormer(read_section<Blip2Options>(result.config, "model", weights));
  const nlohmann::json vision = result.config.value("vision", nlohmann::json::object());
  const ModelTensors tensors(weights);
  if (vision.value("frozen", true)) {  // the tower is not in the checkpoint, only the norm behind it
    LoadOptions tower = from(vision.value("weights", ""), {"post_layernorm."});
    tower.prefix = "vision_model.";
    load_parameters(*result.model->vision_model, ModelTensors(tower.source), tower);
    load_parameters(*result.model, tensors,
                    from(weights, {"vision_model.embeddings.", "vision_model.encoder.", "vision_model.pre_layrnorm."}));
  } else {
    load_parameters(*result.model, tensors, from(weights));
  }
  result.tokenizer = load_tokenizer(tokenizer_folder(folder));
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
  result.model = make_language_model(result.options);
  // Copies of a tied table that published folders may hold besides.
  const bool t5 = result.model->is_encoder_decoder();
  load_parameters(result.model->module(), ModelTensors(weights),
                  from(weights, {t5 ? "embed_tokens.weight" : "lm_head.weight"}));
  result.tokenizer = load_tokenizer(tokenizer_folder(folder));
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
  const auto& origins = section(config, "origins", weights);
  auto origin = [&](const std::string& name) {
    ModelOrigin result;
    read_config(section(origins, name, weights), result, (weights / "config.json").string());
    check_origin(result, folder.string());
    return result.path;
  };
  GeneratorModel result = join_for_stage2(origin("stage1"), origin("language_model"));
  result.config = config;
  result.model->freeze();
  load_parameters(*result.model, ModelTensors(weights),
                  from(weights, {"language_model.", "vision_model.embeddings.", "vision_model.encoder.",
                                 "vision_model.pre_layrnorm."}));
  result.model->eval();
  return result;
}

}  // namespace blip2
