// Models as Hugging Face publishes them: one folder with config.json, weights, tokenizer and image processor (Hugging
// Face specification, sections 1, 2 and 5). Both generations load: with `<image>` placeholders (image_token_index) and
// the older one without. A key that the config leaves out has the default of Hugging Face's class.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

#include "blip2/image/transforms.h"
#include "blip2/models/run_folder.h"

namespace blip2 {

/** True for the config.json of a published BLIP-2 model; a run of our trainers has sections of its own. */
bool is_published(const nlohmann::json& config);

/**
 * True where the folder, published or a run, holds a model of stage 1 (matching and retrieval), false for stage 2.
 * Throws UserError when it holds no config.json.
 */
bool is_retrieval_model(const std::filesystem::path& folder);

/**
 * A `Blip2ForConditionalGeneration` folder in evaluation mode; it computes as Python's float32 model does, whatever the
 * files hold. An adapter in the folder and those of `lora` are merged. Throws UserError that names everything that is
 * missing or misshapen, or the kind of model that this is instead.
 */
GeneratorModel load_published_generator(const std::filesystem::path& folder,
                                        WeightFormat format = WeightFormat::kFloat32, const LoraFolders& lora = {});

/**
 * A `Blip2ForImageTextRetrieval` folder in evaluation mode. Only folders that published_writer.h wrote hold the head
 * for text generation and the temperature; else they are as a new model has them. Throws as above.
 */
RepresentationModel load_published_retrieval(const std::filesystem::path& folder,
                                             WeightFormat format = WeightFormat::kFloat32,
                                             const LoraFolders& lora = {});

/** Sizes of the published model in `folder` that `config` describes. Throws UserError for a config that makes no sense.
 */
Blip2GeneratorOptions published_options(const nlohmann::json& config, const std::filesystem::path& folder);

/**
 * How the folder wants its pictures: preprocessor_config.json, or `image_processor` in processor_config.json; CLIP's
 * statistics where there is neither. Throws UserError for anything but a bicubic resize to the square that the image
 * encoder reads.
 */
ImageTransformOptions load_image_processor(const std::filesystem::path& folder, std::int64_t image_size);

}  // namespace blip2
