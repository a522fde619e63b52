#include "blip2/models/lavis_checkpoint.h"

#include <fstream>
#include <set>

#include "blip2/checkpoint/hugging_face.h"
#include "blip2/checkpoint/torch_writer.h"
#include "blip2/core/atomic_file.h"
#include "blip2/core/atomic_folder.h"
#include "blip2/core/config.h"
#include "blip2/core/error.h"
#include "blip2/models/lora_adapter.h"
#include "blip2/models/published_folder.h"
#include "models/lavis_assembly.h"
#include "models/lavis_files.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Beside the weights, because Hugging Face's retrieval class has neither head for text generation nor temperature.
constexpr const char* kHeadsFile = "stage1_heads.safetensors";

bool is_head(const std::string& name) {
  return name == "temperature" || name.rfind("itg_head.", 0) == 0;
}

bool is_frozen_part(const std::string& name) {
  return name.rfind("language_model.", 0) == 0 ||
         (name.rfind("vision_model.", 0) == 0 && name.rfind("vision_model.post_layernorm.", 0) != 0);
}

/** Copies what of these files is there; the first folder that has any counts. */
void copy_files(const std::vector<const char*>& names, const std::vector<fs::path>& from, const fs::path& to) {
  for (const fs::path& folder : from) {
    if (folder.empty()) continue;
    bool any = false;
    for (const char* name : names) {
      const fs::path file = folder / name;
      if (!fs::is_regular_file(file)) continue;
      write_file_atomically(to / name, [&](ByteSink& sink) {
        std::ifstream stream(file, std::ios::binary);
        const std::string bytes{std::istreambuf_iterator<char>(stream), {}};
        if (stream.bad()) throw WorldError("cannot read '" + file.string() + "'");
        sink.write(bytes);
      });
      any = true;
    }
    if (any) return;
  }
}

/** How pictures are prepared, as LAVIS does it: bicubic to the encoder's square, CLIP's statistics. */
json default_image_processor() {
  const ImageTransformOptions transform;
  return {{"image_processor_type", "BlipImageProcessor"},
          {"processor_class", "Blip2Processor"},
          {"do_convert_rgb", true},
          {"do_resize", true},
          {"do_rescale", true},
          {"do_normalize", true},
          {"resample", 3},
          {"rescale_factor", 1.0 / 255.0},
          {"image_mean", transform.mean},
          {"image_std", transform.std}};
}

/** Processor files as the folder has them, but for the size of the pictures. */
void write_processor(const fs::path& like, std::int64_t image_size, const fs::path& folder) {
  const json size = {{"height", image_size}, {"width", image_size}};
  json pictures = default_image_processor(), joint;
  const fs::path own_file = like / "preprocessor_config.json", joint_file = like / "processor_config.json";
  if (!like.empty() && fs::exists(joint_file)) joint = load_json(joint_file);
  if (joint.is_object() && joint.contains("image_processor")) {
    joint["image_processor"]["size"] = size;
    pictures = joint["image_processor"];
  }
  if (!like.empty() && fs::exists(own_file)) pictures = load_json(own_file);
  pictures["size"] = size;
  if (joint.is_object()) write_file_atomically(folder / joint_file.filename(), joint.dump(2) + "\n");
  write_file_atomically(folder / own_file.filename(), pictures.dump(2) + "\n");
}

void write_texts(const LavisSources& sources, const json& config, const fs::path& folder) {
  copy_files({"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
              "vocab.txt", "merges.txt", "spiece.model"},
             {sources.tokenizer, sources.like, sources.language_model}, folder);
  copy_files({"generation_config.json", "chat_template.json", "chat_template.jinja"}, {sources.like}, folder);
  write_processor(sources.like, config.at("vision_config").value("image_size", VisionOptions().image_size), folder);
}

std::set<std::string> names_of(const NamedTensors& tensors) {
  std::set<std::string> names;
  for (const auto& entry : tensors) names.insert(entry.first);
  return names;
}

/** Throws unless something has the tokenizer that the folder needs. */
void check_tokenizer(const LavisSources& sources) {
  if (!sources.tokenizer.empty() || !sources.like.empty() || !sources.language_model.empty()) return;
  throw UserError("expected a folder with the tokenizer (bert-base-uncased in stage 1), or a folder like the result");
}

}  // namespace

LavisConversion lavis_to_folder(const fs::path& file, const fs::path& folder, const LavisSources& sources) {
  check_replaceable(folder);
  NamedTensors lavis = load_lavis_tensors(file);
  const LavisModel model = lavis_model(lavis);
  if (model != LavisModel::kImageEncoder) check_tokenizer(sources);
  NamedTensors trained = from_lavis(lavis, file.string()).tensors;
  lavis.clear();
  const std::set<std::string> own = names_of(trained);
  AssembledModel whole = assemble(std::move(trained), model, sources, file.string());
  LavisConversion result{whole.tensors.size(), 0};
  for (const auto& [name, tensor] : whole.tensors) result.from_sources += own.count(name) == 0 ? 1 : 0;
  NamedTensors heads;
  for (auto entry = whole.tensors.begin(); entry != whole.tensors.end();) {
    const auto next = std::next(entry);
    if (is_head(entry->first)) heads.insert(whole.tensors.extract(entry));
    entry = next;
  }
  AtomicFolder written(folder);
  save_model_tensors(whole.tensors, written.path());
  if (!heads.empty()) save_safetensors(heads, written.path() / kHeadsFile);
  write_file_atomically(written.path() / "config.json", whole.config.dump(2) + "\n");
  if (model != LavisModel::kImageEncoder) write_texts(sources, whole.config, written.path());
  written.commit();
  return result;
}

LavisConversion folder_to_lavis(const fs::path& folder, const fs::path& file, bool with_frozen) {
  const json config = load_model_config(weights_folder(folder));
  if (LoraAdapter::is_in(folder)) {
    throw UserError("'" + folder.string() + "' holds an adapter, which LAVIS does not know: take it out first");
  }
  if (!is_published(config) && !config.contains("model_type")) {
    throw UserError("'" + folder.string() + "' is a run of our trainers: export it as a Hugging Face folder first");
  }
  NamedTensors tensors = load_model_tensors(folder);
  if (const fs::path heads = folder / kHeadsFile; fs::exists(heads)) tensors.merge(load_safetensors(heads));
  const LavisModel model = lavis_model_of_hugging_face(tensors);
  const bool is_encoder = model == LavisModel::kImageEncoder;
  if (!with_frozen && !is_encoder)
    std::erase_if(tensors, [](const auto& entry) { return is_frozen_part(entry.first); });
  std::int64_t positions = 0;
  if (!is_encoder) positions = published_options(config, folder).qformer_config.max_position_embeddings;
  const RenamedTensors renamed = to_lavis(tensors, model, positions, folder.string());
  save_torch_archive(renamed.tensors, file, is_encoder ? "" : "model");
  return {renamed.tensors.size(), 0};
}

}  // namespace blip2
