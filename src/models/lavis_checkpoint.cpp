#include "blip2/models/lavis_checkpoint.h"

#include <set>

#include "blip2/checkpoint/hugging_face.h"
#include "blip2/checkpoint/torch_writer.h"
#include "blip2/core/atomic_file.h"
#include "blip2/core/atomic_folder.h"
#include "blip2/core/error.h"
#include "blip2/core/output_path.h"
#include "blip2/models/published_folder.h"
#include "blip2/models/published_target.h"
#include "blip2/text/load_tokenizer.h"
#include "checkpoint/dtype_names.h"
#include "core/in_quotes.h"
#include "models/lavis_assembly.h"
#include "models/lavis_files.h"
#include "models/lavis_frozen.h"
#include "models/lavis_target.h"
#include "models/lavis_texts.h"
#include "models/stage1_heads.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/** Does the work; a path that the system does not even look at is a sentence like every other. */
template <typename Work>
LavisConversion with_paths_in_errors(Work work) {
  try {
    return work();
  } catch (const fs::filesystem_error& error) {
    throw WorldError("cannot look at '" + error.path1().string() + "': " + error.code().message());
  }
}

std::set<std::string> tensor_names(const NamedTensors& tensors) {
  std::set<std::string> names;
  for (const auto& entry : tensors) names.insert(entry.first);
  return names;
}

/** Throws where something is named that the model does not have: it would be passed over without a word. */
void check_needed(const LavisSources& sources, LavisModel model, const std::string& file) {
  const auto refuse = [&](const fs::path& named, const std::string& kind, const std::string& part) {
    if (named.empty()) return;
    throw UserError("'" + file + "' is " + kind + " and has no " + part + ": leave out '" + named.string() + "'");
  };
  if (model == LavisModel::kQFormer) refuse(sources.language_model, "of stage 1", "language model");
  if (model != LavisModel::kImageEncoder) return;
  refuse(sources.vision, "an image encoder alone", "other one");
  refuse(sources.language_model, "an image encoder alone", "language model");
  refuse(sources.tokenizer, "an image encoder alone", "tokenizer");
}

/** The heads that Hugging Face's retrieval class lacks leave `tensors`. */
NamedTensors take_heads(NamedTensors& tensors) {
  NamedTensors heads;
  for (auto entry = tensors.begin(); entry != tensors.end();) {
    const auto next = std::next(entry);
    if (is_stage1_head(entry->first)) heads.insert(tensors.extract(entry));
    entry = next;
  }
  return heads;
}

/** Throws one sentence for all tensors that the files of this library are not written with. */
void check_dtypes(const NamedTensors& tensors, const std::string& holder) {
  std::string problems;
  for (const auto& [name, tensor] : tensors) {
    const DtypeNames* dtype = names_of(tensor.scalar_type());
    if (dtype != nullptr && dtype->storage != nullptr) continue;
    problems += (problems.empty() ? "" : ", ") + in_quotes(name) + " is " + dtype_name(tensor.scalar_type());
  }
  if (problems.empty()) return;
  throw UserError(holder + " of dtypes that cannot be converted: " + problems);
}

LavisConversion write_folder(const fs::path& file, const fs::path& folder, const LavisSources& sources) {
  check_apart(folder, {file, sources.like, sources.config, sources.vision, sources.language_model, sources.tokenizer});
  check_published_target(folder);  // first: a name that cannot be written is told before gigabytes are read
  NamedTensors lavis = load_lavis_tensors(file);
  check_dtypes(lavis, "'" + file.string() + "' holds tensors");
  const LavisModel model = lavis_model(lavis);
  check_needed(sources, model, file.string());
  fs::path texts;
  std::unique_ptr<Tokenizer> tokenizer;
  if (model != LavisModel::kImageEncoder) {
    texts = tokenizer_source(sources);
    tokenizer = load_tokenizer(texts);
  }
  NamedTensors trained = from_lavis(lavis, file.string()).tensors;
  lavis.clear();
  const std::set<std::string> own = tensor_names(trained);
  AssembledModel whole = assemble(std::move(trained), model, sources, tokenizer.get(), file.string());
  check_dtypes(whole.tensors, "the frozen parts that were named hold tensors");
  LavisConversion result{whole.tensors.size(), 0};
  for (const auto& [name, tensor] : whole.tensors) result.from_sources += own.count(name) == 0 ? 1 : 0;
  const NamedTensors heads = take_heads(whole.tensors);
  prepare_output(folder);
  AtomicFolder written(folder);
  if (tokenizer) write_texts(texts, sources.like, whole.image_size, written.path());
  write_file_atomically(written.path() / "config.json", whole.config.dump(2) + "\n");
  if (!heads.empty()) save_safetensors(heads, written.path() / kStage1HeadsFile);
  save_model_tensors(whole.tensors, written.path());
  written.commit();
  return result;
}

/** How many positions the texts of the Q-Former have: what is stored counts more than the config. */
std::int64_t text_positions(const NamedTensors& tensors, const json& config, const fs::path& folder) {
  const auto stored = tensors.find("embeddings.position_embeddings.weight");
  if (stored != tensors.end() && stored->second.dim() == 2) return stored->second.size(0);
  Blip2Options options = published_options(config, folder);
  try {
    resolve(options);
  } catch (const UserError& error) {
    throw UserError("'" + (folder / "config.json").string() + "': " + error.what());
  }
  return options.qformer_config.max_position_embeddings;
}

LavisConversion write_checkpoint(const fs::path& folder, const fs::path& file, bool with_frozen) {
  check_new_checkpoint(file);
  const json config = load_model_config(weights_folder(folder));
  refuse_adapter(folder);
  if (!is_published(config) && !config.contains("model_type")) {
    throw UserError("'" + folder.string() + "' is a run of our trainers: export it as a Hugging Face folder first");
  }
  NamedTensors tensors = load_model_tensors(folder);
  const fs::path heads = folder / kStage1HeadsFile;
  if (fs::exists(heads)) tensors.merge(load_safetensors(heads));
  const LavisModel model = lavis_model_of_hugging_face(tensors);
  const bool is_encoder = model == LavisModel::kImageEncoder;
  if (!with_frozen && !is_encoder) {
    std::erase_if(tensors, [](const auto& entry) { return is_frozen_part(entry.first); });
  }
  check_dtypes(tensors, "'" + folder.string() + "' holds tensors");
  const std::int64_t positions = is_encoder ? 0 : text_positions(tensors, config, folder);
  const RenamedTensors renamed = to_lavis(tensors, model, positions, folder.string());
  prepare_output(file);
  save_torch_archive(renamed.tensors, file, is_encoder ? "" : "model");
  return {renamed.tensors.size(), 0};
}

}  // namespace

LavisConversion lavis_to_folder(const fs::path& file, const fs::path& folder, const LavisSources& sources) {
  return with_paths_in_errors([&] { return write_folder(file, folder, sources); });
}

LavisConversion folder_to_lavis(const fs::path& folder, const fs::path& file, bool with_frozen) {
  return with_paths_in_errors([&] { return write_checkpoint(folder, file, with_frozen); });
}

}  // namespace blip2
