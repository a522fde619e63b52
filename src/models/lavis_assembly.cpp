#include "models/lavis_assembly.h"

#include <torch/torch.h>

#include <cmath>
#include <functional>

#include "blip2/checkpoint/module_state.h"
#include "blip2/core/config.h"
#include "blip2/core/error.h"
#include "blip2/models/blip2_generator.h"
#include "blip2/models/blip2_qformer.h"
#include "blip2/models/published_folder.h"
#include "blip2/models/run_folder.h"
#include "core/in_quotes.h"
#include "core/shape_text.h"
#include "models/blip2_language.h"
#include "models/generator_options.h"
#include "models/lavis_frozen.h"
#include "models/published_names.h"
#include "models/stage1_heads.h"
#include "models/stored_sizes.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kVision = "vision_model.";

/** `check`, whose sentence gets the name of the file that is to blame. */
void check_in(const std::string& file, const std::function<void()>& check) {
  try {
    check();
  } catch (const UserError& error) {
    throw UserError("'" + file + "': " + error.what());
  }
}

json vision_json(const VisionOptions& options) {
  json result = write_config(options);
  if (options.post_layer_norm_eps < 0) result["post_layer_norm_eps"] = 1e-5;  // LAVIS's ln_vision
  return result;
}

/** `text_config` of BLIP-2 with the language model of a folder, published or a run of our trainer. */
json text_json(const fs::path& folder, const Tokenizer& tokenizer) {
  const fs::path weights = weights_folder(folder);
  const std::string file = (weights / "config.json").string();
  json text = load_model_config(weights);
  if (!text.contains("model_type") && text.contains("text_config")) text = json(text["text_config"]);
  LanguageModelOptions options;
  read_config(text, options, file, UnknownKeys::kIgnore);
  check_in(file, [&] { validate(options); });
  adapt_to_blip2(options, tokenizer);
  if (options.model_type == "opt") text["eos_token_id"] = options.opt.eos_token_id;
  if (options.model_type == "t5") text["dense_act_fn"] = options.t5.dense_act_fn;
  return text;
}

/** The published sizes, which spelt out make a config.json. */
json default_config(bool is_clip, bool has_text) {
  Blip2Options options;
  options.vision_config = is_clip ? clip_vit_l_options() : eva_vit_g_options();
  options.qformer_config.vocab_size = 30523;
  options.qformer_config.encoder_hidden_size = options.vision_config.hidden_size;
  options.qformer_config.use_qformer_text_input = has_text;
  json config = write_config(options);
  config["vision_config"] = vision_json(options.vision_config);
  config["qformer_config"]["model_type"] = "blip_2_qformer";
  return config;
}

/** The description that the sources name. */
json named_config(LavisModel model, const LavisSources& sources) {
  if (!sources.config.empty()) {
    json config = load_json(sources.config);
    if (!config.is_object()) throw UserError("'" + sources.config.string() + "' must hold a JSON object");
    return config;
  }
  json config = load_model_config(sources.like);
  if (model == LavisModel::kImageEncoder) return config;
  const bool is_stage1 = model == LavisModel::kQFormer;
  if (!is_published(config)) {
    throw UserError("'" + sources.like.string() + "' is no published BLIP-2: export a run as such a folder first");
  }
  if (is_retrieval_model(sources.like) != is_stage1) {
    throw UserError("the checkpoint is of stage " + std::string(is_stage1 ? "1" : "2") + ", but '" +
                    sources.like.string() + "' holds a model of stage " + (is_stage1 ? "2" : "1"));
  }
  return config;
}

/** The file that errors in the description are of. */
std::string described_in(const LavisSources& sources) {
  if (!sources.config.empty()) return sources.config.string();
  return ((sources.like.empty() ? sources.language_model : sources.like) / "config.json").string();
}

/** The description of the model before the tensors have been looked at. */
json describe(LavisModel model, const LavisSources& sources, bool is_clip, const Tokenizer* tokenizer) {
  const bool is_stage1 = model == LavisModel::kQFormer;
  const bool is_named = !sources.config.empty() || !sources.like.empty();
  json config = is_named ? named_config(model, sources) : default_config(is_clip, is_stage1);
  if (model == LavisModel::kImageEncoder) return config;
  if (!is_stage1 && !sources.language_model.empty()) {
    config["text_config"] = text_json(sources.language_model, *tokenizer);
  }
  if (!is_stage1 && !config.contains("text_config")) {
    throw UserError("the checkpoint is of stage 2: expected its language model's folder, or a folder like it");
  }
  config["model_type"] = "blip-2";
  config["architectures"] = {is_stage1 ? "Blip2ForImageTextRetrieval" : "Blip2ForConditionalGeneration"};
  return config;
}

/** Pictures of another size than described, as after fine-tuning: the position table says which. */
void follow_image_size(json& vision, VisionOptions& options, const NamedTensors& tensors) {
  for (const char* name :
       {"vision_model.embeddings.position_embedding", "vision_model.embeddings.position_embedding.weight"}) {
    const auto found = tensors.find(name);
    if (found == tensors.end() || found->second.dim() < 2) continue;
    const std::int64_t patches = found->second.size(-2) - 1;
    const auto side =
        static_cast<std::int64_t>(std::llround(std::sqrt(static_cast<double>(std::max<std::int64_t>(patches, 0)))));
    if (side <= 0 || side * side != patches || options.num_patches() == patches) continue;
    options.image_size = side * options.patch_size;
    vision["image_size"] = options.image_size;
  }
}

/** Another place of a table that the language model has once. */
bool is_tied_copy(const std::string& name) {
  return name.ends_with("lm_head.weight") || name.ends_with("embed_tokens.weight") ||
         name.ends_with("EncDecAttention.relative_attention_bias.weight");
}

/** Fills in what `tensors` lacks of frozen parts; gives what is still missing or misshapen. */
std::vector<std::string> fill_in(NamedTensors& tensors, const NamedTensors& parameters, const FrozenParts& frozen) {
  std::vector<std::string> problems;
  // Of these Hugging Face's class has none, so that a file may lack them, but only all.
  const bool has_heads =
      std::any_of(tensors.begin(), tensors.end(), [](const auto& entry) { return is_stage1_head(entry.first); });
  for (const auto& [name, parameter] : parameters) {
    auto found = tensors.find(name);
    if (found == tensors.end() && is_frozen_part(name)) {
      if (auto tensor = frozen.find(name)) found = tensors.emplace(name, std::move(*tensor)).first;
    }
    if (found == tensors.end()) {
      if (has_heads || !is_stage1_head(name)) problems.push_back(in_quotes(name) + " is missing");
    } else if (found->second.sizes() != parameter.sizes()) {
      problems.push_back(in_quotes(name) + " has shape " + shape_text(found->second.sizes()) + " where the model has " +
                         shape_text(parameter.sizes()));
    }
  }
  return problems;
}

/** Makes `tensors` the model's, or throws a list of all that stands against it. `blocks`: of the image encoder. */
void complete(NamedTensors& tensors, const NamedTensors& parameters, const FrozenParts& frozen, std::int64_t blocks,
              const std::string& file) {
  frozen.check_blocks(blocks);
  std::erase_if(tensors, [&](const auto& entry) { return is_unused_block(entry.first, blocks, file); });
  std::vector<std::string> problems = fill_in(tensors, parameters, frozen);
  for (const auto& [name, tensor] : tensors) {
    if (parameters.count(name) == 0 && !is_tied_copy(name)) problems.push_back(in_quotes(name) + " is unexpected");
  }
  if (problems.empty()) return;
  std::string text;
  for (const auto& problem : problems) text += (text.empty() ? "" : ", ") + problem;
  throw UserError("'" + file + "' and the frozen parts that were named do not make the model: " + text);
}

/** Whether the head of the language model is its embedding, where the file has both. */
void adapt_to_own_tensors(LanguageModelOptions& options, const NamedTensors& tensors) {
  const bool is_t5 = options.model_type == "t5";
  const auto head = tensors.find("language_model.lm_head.weight"),
             words = tensors.find(is_t5 ? "language_model.shared.weight"
                                        : "language_model.model.decoder.embed_tokens.weight");
  if (head == tensors.end() || words == tensors.end()) return;
  bool& tied = is_t5 ? options.t5.tie_word_embeddings : options.opt.tie_word_embeddings;
  tied = head->second.scalar_type() == words->second.scalar_type() && head->second.sizes() == words->second.sizes() &&
         torch::equal(head->second, words->second);
}

/** Of the tensor that the model will have under this name, if there is one. */
std::optional<std::vector<std::int64_t>> shape_in(const NamedTensors& tensors, const FrozenParts& frozen,
                                                  const std::string& name) {
  if (const auto found = tensors.find(name); found != tensors.end()) return found->second.sizes().vec();
  if (!is_frozen_part(name)) return std::nullopt;
  const auto tensor = frozen.find(name);
  return tensor ? std::optional(tensor->sizes().vec()) : std::nullopt;
}

AssembledModel assemble_encoder(AssembledModel model, const FrozenParts& none, const std::string& described,
                                const std::string& file) {
  json vision = model.config.contains("vision_config") ? model.config["vision_config"] : model.config;
  VisionOptions options;
  read_config(vision, options, described, UnknownKeys::kIgnore);
  check_in(described, [&] { validate(options); });
  follow_image_size(vision, options, model.tensors);
  NamedTensors parameters;
  for (const auto& [name, parameter] : named_parameters(*make_vision_encoder(options))) {
    if (!name.starts_with("post_layernorm.")) parameters.emplace(kVision + name, parameter);
  }
  complete(model.tensors, parameters, none, options.num_hidden_layers, file);
  model.config = std::move(vision);
  model.config["model_type"] = options.model_type;
  model.image_size = options.image_size;
  return model;
}

}  // namespace

AssembledModel assemble(NamedTensors trained, LavisModel model, const LavisSources& sources, const Tokenizer* tokenizer,
                        const std::string& file) {
  FrozenParts frozen(sources, model);
  const bool is_clip = trained.count("vision_model.pre_layrnorm.weight") != 0 || frozen.is_clip();
  const std::string described = described_in(sources);
  AssembledModel result;
  result.config = describe(model, sources, is_clip, tokenizer);
  result.tensors = std::move(trained);
  const SkipInitialization only_shapes;
  if (model == LavisModel::kImageEncoder) return assemble_encoder(std::move(result), frozen, described, file);
  Blip2GeneratorOptions options;
  read_config(with_present_names(result.config), options, described, UnknownKeys::kIgnore);
  check_in(described,
           [&] { model == LavisModel::kQFormer ? resolve(static_cast<Blip2Options&>(options)) : resolve(options); });
  if (!result.config.contains("vision_config")) result.config["vision_config"] = json::object();
  follow_image_size(result.config["vision_config"], options.vision_config, result.tensors);
  result.image_size = options.vision_config.image_size;
  if (!sources.config.empty() || !sources.like.empty()) {  // the published sizes fit into memory, right or wrong
    const auto shape_of = [&](const std::string& name) { return shape_in(result.tensors, frozen, name); };
    check_stored_sizes(options, {file, in_quotes(described), shape_of});
  }
  NamedTensors parameters;
  if (model == LavisModel::kQFormer) {
    parameters = named_parameters(*Blip2QFormer(options));
  } else {
    frozen.adapt(options.text_config);
    adapt_to_own_tensors(options.text_config, result.tensors);
    parameters = named_parameters(*Blip2Generator(options, WeightOptions{at::kFloat, at::kMeta}));
  }
  complete(result.tensors, parameters, frozen, options.vision_config.num_hidden_layers, file);
  return result;
}

}  // namespace blip2
