#include "blip2/models/source_folders.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "blip2/checkpoint/hugging_face.h"
#include "blip2/core/error.h"
#include "blip2/models/published_target.h"
#include "blip2/models/run_folder.h"
#include "core/real_place.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

/** Also true for one and the same. */
bool lies_in(const fs::path& inner, const fs::path& outer) {
  return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
}

void collect(const fs::path& folder, std::vector<fs::path>& found) {
  if (std::find(found.begin(), found.end(), folder) != found.end()) return;
  const fs::path weights = weights_folder(folder);
  found.insert(found.end(), {folder, folder / "checkpoint", weights, tokenizer_folder(folder)});
  if (!fs::exists(weights / "config.json")) return;
  const nlohmann::json config = load_model_config(weights);
  const auto origins = config.find("origins");
  if (origins == config.end() || !origins->is_object()) return;
  for (const auto& [name, origin] : origins->items()) {
    if (!origin.is_object() || !origin.contains("path") || !origin["path"].is_string()) continue;
    collect(origin["path"].get<std::string>(), found);
  }
}

}  // namespace

std::vector<fs::path> source_folders(const fs::path& folder) {
  std::vector<fs::path> found;
  collect(folder, found);
  return found;
}

std::vector<fs::path> source_files(const fs::path& folder, const LoraFolders& lora) {
  const auto is_missed = [](const std::string& name) {
    return is_published_file(name) || name.starts_with("adapter_") || name == "train_state.safetensors" ||
           name == "log.jsonl";
  };
  std::vector<fs::path> folders = source_folders(folder), files;
  folders.insert(folders.end(), lora.begin(), lora.end());
  std::error_code error;
  for (const fs::path& source : folders) {
    for (fs::directory_iterator entry(source, error), end; !error && entry != end; entry.increment(error)) {
      if (is_missed(entry->path().filename().string())) files.push_back(entry->path());
    }
  }
  return files;
}

void check_keeps_sources(const fs::path& target, const fs::path& model) {
  const fs::path place = real_place(target);
  fs::path previous = place;
  previous += ".previous";  // committing a folder clears it
  for (const fs::path& source : source_folders(model)) {
    const fs::path read = real_place(source);
    if (!lies_in(read, place) && !lies_in(read, previous)) continue;
    throw UserError("will not replace the folder '" + target.string() + "': '" + model.string() + "' needs '" +
                    source.string() + "', which would be lost; choose another name");
  }
}

}  // namespace blip2
