#include "blip2/models/run_folder.h"

#include <torch/torch.h>

#include <array>
#include <optional>

#include "blip2/checkpoint/hugging_face.h"
#include "blip2/checkpoint/module_state.h"
#include "blip2/core/atomic_folder.h"
#include "blip2/core/config.h"
#include "blip2/core/error.h"
#include "blip2/core/fingerprint.h"
#include "blip2/models/published_folder.h"
#include "blip2/text/load_tokenizer.h"
#include "core/in_quotes.h"
#include "models/blip2_language.h"
#include "models/language_tensors.h"
#include "models/lora_merging.h"
#include "models/stored_sizes.h"
#include "models/weight_format_loading.h"

namespace blip2 {
namespace {

/** What a config.json seems to belong to. */
std::string kind_of(const nlohmann::json& config) {
  if (const auto type = config.find("model_type"); type != config.end() && type->is_string()) {
    return "a model of type " + in_quotes(type->get<std::string>());
  }
  if (config.contains("model")) return "a run of train_stage1";
  if (config.contains("origins")) return "a run of train_stage2";
  if (config.contains("text_config")) return "a run of train_language_model";
  return "no model that is known here";
}

/** What one would have expected who looks for this section. */
std::string owner_of(const std::string& section) {
  if (section == "model") return "a run of train_stage1 or a published BLIP-2 folder";
  if (section == "text_config") return "an OPT or FlanT5 folder or a run of train_language_model";
  return "a run of train_stage2 or a published BLIP-2 folder";
}

const nlohmann::json& section(const nlohmann::json& config, const std::string& name,
                              const std::filesystem::path& folder) {
  const auto found = config.find(name);
  if (found == config.end()) {
    throw UserError("'" + folder.string() + "' holds " + kind_of(config) + ", expected " + owner_of(name) +
                    ": its config.json has no section '" + name + "'");
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

/** Where a tower's parameters lie in a model, without the norm behind it. */
constexpr std::array kTowerParts{"vision_model.embeddings.", "vision_model.encoder.", "vision_model.pre_layrnorm."};

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

/** A stage-1 model that has been looked at but not read. */
struct Stage1Source {
  std::filesystem::path weights;
  nlohmann::json config;
  Blip2Options options;
  std::optional<std::filesystem::path> tower;  // where a frozen image encoder lies; none: beside the rest
};

Stage1Source open_stage1(const std::filesystem::path& folder) {
  Stage1Source source;
  source.weights = weights_folder(folder);
  source.config = load_model_config(source.weights);
  if (is_published(source.config)) {
    source.options = published_options(source.config, source.weights);
    return source;
  }
  source.options = read_section<Blip2Options>(source.config, "model", source.weights);
  if (read_section<VisionSection>(source.config, "vision", source.weights).frozen) {
    source.tower = frozen_part(source.config, "vision", folder);
  }
  return source;
}

/** The folders whose adapters are merged with the weights of a stage-1 model, whoever names them. */
std::vector<std::filesystem::path> adapted_folders(const Stage1Source& source) {
  std::vector<std::filesystem::path> folders{source.weights};
  if (source.tower) folders.push_back(weights_folder(*source.tower));
  return folders;
}

void fill_tower(VisionEncoderImpl& tower, const std::filesystem::path& folder, WeightFormat format,
                const std::vector<LoraMerging*>& adapters);

/**
 * Reads `module`, a model of stage 1 or 2 around `tower`; what stage 2 has besides is in `ignore`. Of the adapters only
 * what they add to the tower is merged: the rest may be overwritten by what a later run learnt. An adapter beside the
 * weights is merged into whatever is of stage 1, a tower that lies elsewhere too.
 */
void fill_from_stage1(torch::nn::Module& module, VisionEncoderImpl& tower, const Stage1Source& source,
                      WeightFormat format, LoraMerging& adapters, std::vector<std::string> ignore) {
  const bool is_whole = ignore.empty();
  LoraMerging own(LoraMerging::with_own(source.weights));
  own.bind(module, {"", ignore, is_whole});
  if (source.tower) {
    fill_tower(tower, *source.tower, format, {&adapters, &own});
    ignore.insert(ignore.end(), kTowerParts.begin(), kTowerParts.end());
  }
  LoadOptions load = from(source.weights, std::move(ignore));
  load.strict = is_whole;  // stage 1's text side and heads have no place in stage 2
  keep_matrices(module, {{"vision_model.", image_encoder_format(format)}}, load);
  adapters.attach(load, "", "vision_model.");
  own.attach(load);
  const LoadReport report = load_parameters(module, ModelTensors(source.weights), load);
  if (!report.missing.empty()) {
    throw UserError("'" + source.weights.string() + "' lacks '" + report.missing.front() + "', which stage 2 needs");
  }
  own.finish();
}

/** A language model's folder that has been looked at but not read. */
struct LanguageSource {
  ModelTensors tensors;
  LanguageModelOptions options;
  LanguageTensors stored;
  std::unique_ptr<Tokenizer> tokenizer;
};

LanguageSource open_language_model(const std::filesystem::path& folder) {
  const std::filesystem::path weights = weights_folder(folder);
  const nlohmann::json config = load_model_config(weights);
  LanguageModelOptions options;
  const bool published = config.contains("model_type");
  read_config(published ? config : section(config, "text_config", weights), options, (weights / "config.json").string(),
              UnknownKeys::kIgnore);
  auto tokenizer = load_tokenizer(tokenizer_folder(folder));
  ModelTensors tensors(weights);
  LanguageTensors stored = adapt_to_tensors(options, tensors, "");
  adapt_to_blip2(options, *tokenizer);
  check_stored_sizes(options, tensors, "");
  return {std::move(tensors), options, std::move(stored), std::move(tokenizer)};
}

/** `adapters` call the language model `language_model.`, the one beside its weights does not. */
void fill_language_model(LanguageModel& model, const LanguageSource& source, WeightFormat format,
                         LoraMerging& adapters) {
  LoadOptions load = from(source.tensors.folder(), source.stored.copies);
  load.stored_as = source.stored.stored_as;
  keep_matrices(model.module(), {{"", language_model_format(format)}}, load);
  adapters.attach(load, "language_model.");
  LoraMerging own(LoraMerging::with_own(source.tensors.folder()));
  own.bind(model.module());
  own.attach(load);
  load_parameters(model.module(), source.tensors, load);
  own.finish();
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
    const TensorInfo& info = tensors.info(name);
    const auto size = static_cast<std::int64_t>(c10::elementSize(info.dtype));
    const at::Tensor sample = tensors.read_first(name, 4096 / size).contiguous();
    fingerprint.add(name.data(), name.size());
    fingerprint.add(info.shape.data(), info.shape.size() * sizeof(std::int64_t));
    fingerprint.add(sample.data_ptr(), sample.nbytes());
  }
  for (const auto& own : LoraMerging::with_own(weights_folder(folder))) {
    const LoraAdapter adapter(own);
    for (const auto& [name, update] : adapter.updates()) {
      fingerprint.add(name.data(), name.size());
      fingerprint.add(&update.scale, sizeof update.scale);
      for (const at::Tensor& half : {update.a.contiguous(), update.b.contiguous()}) {
        fingerprint.add(half.sizes().data(), half.sizes().size() * sizeof(std::int64_t));
        fingerprint.add(half.data_ptr(), half.nbytes());
      }
    }
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

namespace {

void fill_tower(VisionEncoderImpl& tower, const std::filesystem::path& folder, WeightFormat format,
                const std::vector<LoraMerging*>& adapters) {
  LoadOptions load = from(weights_folder(folder), {"post_layernorm."});
  load.prefix = "vision_model.";
  const ModelTensors tensors(load.source);
  // Published towers hold the last block too, which BLIP-2 does not run.
  const std::string layers = load.prefix + "encoder.layers.";
  for (const std::string& name : tensors.names()) {
    if (!name.starts_with(layers)) continue;
    const std::string number = name.substr(layers.size(), name.find('.', layers.size()) - layers.size());
    const bool is_number =
        !number.empty() && number.size() < 6 && number.find_first_not_of("0123456789") == std::string::npos;
    if (is_number && std::stoll(number) >= tower.options().num_hidden_layers) {
      load.ignore.push_back("encoder.layers." + number + ".");
    }
  }
  keep_matrices(tower, {{"", image_encoder_format(format)}}, load);
  for (LoraMerging* others : adapters) others->attach(load, "vision_model.");
  LoraMerging own(LoraMerging::with_own(tensors.folder()));
  own.bind(tower, {load.prefix, load.ignore});
  own.attach(load);
  load_parameters(tower, tensors, load);
  own.finish();
}

/** As join_for_stage2; what the adapters add to frozen parts is merged. */
GeneratorModel join(const Stage1Source& source, LanguageSource language, WeightFormat format, LoraMerging& adapters) {
  Blip2GeneratorOptions options;
  static_cast<Blip2Options&>(options) = source.options;
  options.image_token_index.reset();  // an id of another vocabulary
  options.text_config = language.options;
  GeneratorModel result;
  {
    const SkipInitialization read_next;
    result.model = Blip2Generator(options);
  }
  adapters.bind(*result.model);
  fill_from_stage1(*result.model, *result.model->vision_model, source, format, adapters,
                   {"language_model.", "language_projection."});
  fill_language_model(*result.model->language_model, language, format, adapters);
  result.model->language_projection->reset_parameters();
  result.tokenizer = std::move(language.tokenizer);
  result.model->eval();
  return result;
}

}  // namespace

void load_vision_tower(VisionEncoderImpl& tower, const std::filesystem::path& folder, WeightFormat format) {
  fill_tower(tower, folder, format, {});
}

RepresentationModel load_representation_model(const std::filesystem::path& folder, WeightFormat format,
                                              const LoraFolders& lora) {
  const Stage1Source source = open_stage1(folder);
  if (is_published(source.config)) return load_published_retrieval(source.weights, format, lora);
  LoraMerging adapters(LoraMerging::without(lora, adapted_folders(source)));
  RepresentationModel result;
  {
    const SkipInitialization read_next;
    result.model = Blip2QFormer(source.options);
  }
  adapters.bind(*result.model);
  fill_from_stage1(*result.model, *result.model->vision_model, source, format, adapters, {});
  adapters.finish();
  result.tokenizer = load_tokenizer(tokenizer_folder(folder));
  result.transform = run_transform(source.config, source.weights, result.model->options().vision_config.image_size);
  result.config = source.config;
  take_no_gradients(*result.model, format);
  result.model->eval();
  return result;
}

LanguageModelFolder load_language_model(const std::filesystem::path& folder) {
  LanguageSource source = open_language_model(folder);
  const SkipInitialization read_next;
  LanguageModelFolder result;
  result.model = make_language_model(source.options);
  LoraMerging none;
  fill_language_model(*result.model, source, WeightFormat::kFloat32, none);
  result.options = source.options;
  result.tokenizer = std::move(source.tokenizer);
  result.model->module().eval();
  return result;
}

GeneratorModel join_for_stage2(const std::filesystem::path& stage1, const std::filesystem::path& language_model,
                               WeightFormat format) {
  LoraMerging none;
  const Stage1Source source = open_stage1(stage1);
  return join(source, open_language_model(language_model), format, none);
}

GeneratorModel load_generator_model(const std::filesystem::path& folder, WeightFormat format, const LoraFolders& lora) {
  const std::filesystem::path weights = weights_folder(folder);
  const nlohmann::json config = load_model_config(weights);
  if (is_published(config)) return load_published_generator(weights, format, lora);
  const Stage1Source stage1 = open_stage1(frozen_part(config, "stage1", folder));
  LanguageSource language = open_language_model(frozen_part(config, "language_model", folder));
  std::vector<std::filesystem::path> adapted = adapted_folders(stage1);
  adapted.push_back(language.tensors.folder());
  LoraMerging adapters(LoraMerging::with_own(weights, LoraMerging::without(lora, adapted)));
  GeneratorModel result = join(stage1, std::move(language), format, adapters);
  result.config = config;
  if (format == WeightFormat::kFloat32) result.model->freeze();
  std::vector<std::string> frozen(kTowerParts.begin(), kTowerParts.end());
  frozen.emplace_back("language_model.");
  load_parameters(*result.model, ModelTensors(weights), from(weights, std::move(frozen)));
  adapters.finish();
  result.transform = run_transform(config, weights, result.model->options().vision_config.image_size);
  take_no_gradients(*result.model, format);
  result.model->eval();
  return result;
}

}  // namespace blip2
