#include "blip2/models/published_target.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>

#include "blip2/core/config.h"
#include "blip2/core/error.h"
#include "blip2/core/output_path.h"
#include "models/stage1_heads.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kFiles[] = {"config.json",
                                       "generation_config.json",
                                       "preprocessor_config.json",
                                       "processor_config.json",
                                       "tokenizer.json",
                                       "tokenizer_config.json",
                                       "special_tokens_map.json",
                                       "added_tokens.json",
                                       "vocab.json",
                                       "merges.txt",
                                       "vocab.txt",
                                       "spiece.model",
                                       "tokenizer.model",
                                       kStage1HeadsFile};

constexpr std::string_view kModelTypes[] = {"blip-2", "blip_2_vision_model", "clip_vision_model"};

/** `model.safetensors`, its index, `model-00001-of-00002.safetensors` and the same of the older format. */
bool is_weights_file(std::string_view name) {
  for (const auto& [stem, ending] : {std::pair{"model", ".safetensors"}, std::pair{"pytorch_model", ".bin"}}) {
    std::string_view rest = name;
    if (rest.ends_with(".index.json")) rest.remove_suffix(std::string_view(".index.json").size());
    if (!rest.starts_with(stem) || !rest.ends_with(ending)) continue;
    rest.remove_prefix(std::string_view(stem).size());
    rest.remove_suffix(std::string_view(ending).size());
    if (rest.empty()) return true;
    if (rest.starts_with('-') && rest.find_first_not_of("-0123456789of") == std::string_view::npos) return true;
  }
  return false;
}

/** What of the folder a published model does not have, or "". */
std::string foreign_entry(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!is_published_file(name) || !entry.is_regular_file()) return name;
  }
  return "";
}

std::string model_type(const fs::path& config) {
  const nlohmann::json root = load_json(config);
  const auto found = root.is_object() ? root.find("model_type") : root.end();
  return found != root.end() && found->is_string() ? found->get<std::string>() : "";
}

void check_old_folder(const fs::path& folder) {
  const auto refuse = [&](const std::string& reason) {
    throw UserError("will not replace the folder '" + folder.string() + "': " + reason +
                    "; choose another name or remove it");
  };
  if (!fs::exists(folder) || fs::is_empty(folder)) return;
  const fs::path config = folder / "config.json";
  if (!fs::exists(config)) refuse("it is not empty and holds no 'config.json'");
  if (const std::string name = foreign_entry(folder); !name.empty()) {
    refuse("it holds '" + name + "', which is no part of a published model");
  }
  const std::string found = model_type(config);
  if (std::find(std::begin(kModelTypes), std::end(kModelTypes), found) == std::end(kModelTypes)) {
    refuse("its config.json is not of a BLIP-2 model but of '" + found + "'");
  }
}

}  // namespace

bool is_published_file(const std::string& name) {
  return std::find(std::begin(kFiles), std::end(kFiles), name) != std::end(kFiles) || is_weights_file(name);
}

void check_published_target(const fs::path& folder) {
  check_output_folder(folder);
  try {
    check_old_folder(folder);
  } catch (const fs::filesystem_error& error) {
    throw WorldError("cannot look at '" + error.path1().string() + "': " + error.code().message());
  }
}

}  // namespace blip2
