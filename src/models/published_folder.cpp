#include "blip2/models/published_folder.h"

#include <torch/torch.h>

#include "blip2/checkpoint/hugging_face.h"
#include "blip2/checkpoint/module_state.h"
#include "blip2/core/config.h"
#include "blip2/core/error.h"
#include "blip2/text/load_tokenizer.h"
#include "core/in_quotes.h"
#include "models/language_tensors.h"
#include "models/lora_merging.h"
#include "models/published_names.h"
#include "models/stage1_heads.h"
#include "models/stored_sizes.h"
#include "models/weight_format_loading.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/** Throws where the config names another class than the one that is to be loaded; older files name none. */
void check_architecture(const json& config, const fs::path& folder, const std::string& expected,
                        const std::string& purpose) {
  const auto found = config.find("architectures");
  if (found == config.end() || !found->is_array() || found->empty() || !found->front().is_string()) return;
  const auto name = found->front().get<std::string>();
  // Blip2Model has the same weights as the generative model.
  if (name == expected || (name == "Blip2Model" && expected == "Blip2ForConditionalGeneration")) return;
  throw UserError("'" + folder.string() + "' holds a " + in_quotes(name) + ", but " + purpose + " needs a " + expected);
}

struct PublishedFolder {
  json config;
  Blip2GeneratorOptions options;
};

PublishedFolder read_published(const fs::path& folder) {
  json config = with_present_names(load_model_config(folder));
  return {config, published_options(config, folder)};
}

}  // namespace

bool is_published(const json& config) {
  const auto type = config.find("model_type");
  return type != config.end() && *type == "blip-2";
}

bool is_retrieval_model(const fs::path& folder) {
  const json config = load_model_config(weights_folder(folder));
  if (!is_published(config)) return config.contains("model");
  const json architectures = config.value("architectures", json::array());
  return architectures.is_array() && !architectures.empty() && architectures[0] == "Blip2ForImageTextRetrieval";
}

GeneratorModel load_published_generator(const fs::path& folder, WeightFormat format, const LoraFolders& lora) {
  PublishedFolder published = read_published(folder);
  check_architecture(published.config, folder, "Blip2ForConditionalGeneration", "generating text");
  const ModelTensors tensors(folder);
  const LanguageTensors language = adapt_to_tensors(published.options.text_config, tensors, "language_model.");
  check_stored_sizes(published.options, tensors);
  check_stored_sizes(published.options.text_config, tensors, "language_model.");
  const SkipInitialization read_next;
  GeneratorModel result;
  result.model = Blip2Generator(published.options);
  LoadOptions load;
  load.source = folder.string();
  load.ignore.insert(load.ignore.end(), language.copies.begin(), language.copies.end());
  load.stored_as = language.stored_as;
  keep_matrices(*result.model,
                {{"vision_model.", image_encoder_format(format)}, {"language_model.", language_model_format(format)}},
                load);
  LoraMerging adapters(LoraMerging::with_own(folder, lora));
  adapters.bind(*result.model);
  adapters.attach(load);
  load_parameters(*result.model, tensors, load);
  adapters.finish();
  result.tokenizer = load_tokenizer(folder);
  result.transform = load_image_processor(folder, published.options.vision_config.image_size);
  result.config = std::move(published.config);
  take_no_gradients(*result.model, format);
  result.model->eval();
  return result;
}

RepresentationModel load_published_retrieval(const fs::path& folder, WeightFormat format, const LoraFolders& lora) {
  PublishedFolder published = read_published(folder);
  check_architecture(published.config, folder, "Blip2ForImageTextRetrieval", "matching texts with pictures");
  const ModelTensors tensors(folder);
  check_stored_sizes(published.options, tensors);
  RepresentationModel result;
  {
    const SkipInitialization read_next;
    result.model = Blip2QFormer(published.options);
  }
  LoadOptions load;
  load.source = folder.string();
  load.ignore.insert(load.ignore.end(), {"itg_head.", "temperature"});
  keep_matrices(*result.model, {{"vision_model.", image_encoder_format(format)}}, load);
  LoraMerging adapters(LoraMerging::with_own(folder, lora));
  adapters.bind(*result.model);
  adapters.attach(load);
  load_parameters(*result.model, tensors, load);
  result.has_generation_head = load_stage1_heads(*result.model, folder);
  adapters.finish();
  result.tokenizer = load_tokenizer(folder);
  result.transform = load_image_processor(folder, published.options.vision_config.image_size);
  result.config = std::move(published.config);
  take_no_gradients(*result.model, format);
  result.model->eval();
  return result;
}

}  // namespace blip2
