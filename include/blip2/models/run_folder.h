// Models out of the folders that our trainers leave, or that others publish. A run keeps only what it trained; where
// its frozen parts came from stands in its config as path and fingerprint, and loading joins them again.
#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "blip2/image/transforms.h"
#include "blip2/models/blip2_generator.h"
#include "blip2/models/blip2_qformer.h"
#include "blip2/models/lora_adapter.h"
#include "blip2/models/weight_format.h"
#include "blip2/text/tokenizer.h"

namespace blip2 {

/** Where frozen weights came from; the fingerprint tells whether they are still the same. */
struct ModelOrigin {
  std::string path;         // run folder or model folder, absolute
  std::string fingerprint;  // of names, shapes and samples of the values
};

void visit_fields(FieldVisitor& visitor, ModelOrigin& origin);

/** The folder with config.json and model.safetensors: FOLDER/checkpoint of a run, or FOLDER itself. */
std::filesystem::path weights_folder(const std::filesystem::path& folder);

/** FOLDER with its fingerprint. Throws UserError when it holds no model. */
ModelOrigin describe_origin(const std::filesystem::path& folder);

/** Throws UserError when the origin has moved or its weights are others than when it was described. */
void check_origin(const ModelOrigin& origin, const std::string& needed_by);

/** What the trainers write beside the checkpoint: vocabulary files in FOLDER/tokenizer. */
std::filesystem::path tokenizer_folder(const std::filesystem::path& folder);

struct RepresentationModel {
  Blip2QFormer model{nullptr};
  std::unique_ptr<Tokenizer> tokenizer;
  ImageTransformOptions transform;  // of pictures in evaluation
  nlohmann::json config;            // of the run, or of the published folder
  bool has_generation_head = true;  // false for folders of Hugging Face's retrieval class, which has none
};

/**
 * A stage-1 run or a published retrieval folder, in evaluation mode, with the adapters of `lora` and one that the
 * folder itself holds merged into its weights. Throws UserError naming what the folder lacks.
 */
RepresentationModel load_representation_model(const std::filesystem::path& folder,
                                              WeightFormat format = WeightFormat::kFloat32,
                                              const LoraFolders& lora = {});

struct LanguageModelFolder {
  std::shared_ptr<LanguageModel> model;
  LanguageModelOptions options;
  std::unique_ptr<Tokenizer> tokenizer;
};

/**
 * `vision_model.*` of a model or run folder, without post_layernorm, which learns; blocks beyond the tower's are passed
 * over. Throws UserError for whatever does not fit.
 */
void load_vision_tower(VisionEncoderImpl& tower, const std::filesystem::path& folder,
                       WeightFormat format = WeightFormat::kFloat32);

/**
 * A language model of our trainer, or an OPT or T5 folder in Hugging Face format, in evaluation mode and as BLIP-2 uses
 * it: OPT ends its answers at the newline, a gated FlanT5 has the exact GELU. An adapter beside the weights is merged.
 */
LanguageModelFolder load_language_model(const std::filesystem::path& folder);

struct GeneratorModel {
  Blip2Generator model{nullptr};
  std::unique_ptr<Tokenizer> tokenizer;
  ImageTransformOptions transform;  // of pictures in evaluation
  nlohmann::json config;            // of the run, or of the published folder
};

/**
 * A stage-2 run with its frozen parts or a published generative folder, in evaluation mode, with adapters merged as
 * above. Throws UserError naming what is missing or has changed.
 */
GeneratorModel load_generator_model(const std::filesystem::path& folder, WeightFormat format = WeightFormat::kFloat32,
                                    const LoraFolders& lora = {});

/**
 * A stage-2 model put together for training: vision and Q-Former from a stage-1 run, the language model from its
 * folder, a random projection. Nothing is frozen yet.
 */
GeneratorModel join_for_stage2(const std::filesystem::path& stage1, const std::filesystem::path& language_model,
                               WeightFormat format = WeightFormat::kFloat32);

}  // namespace blip2
