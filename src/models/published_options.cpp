#include "blip2/core/config.h"
#include "blip2/models/published_folder.h"
#include "models/published_names.h"

namespace blip2 {

using nlohmann::json;

json with_present_names(json config) {
  auto rename = [](json& object, const char* earlier, const char* present) {
    if (object.is_object() && object.contains(earlier) && !object.contains(present)) object[present] = object[earlier];
  };
  rename(config, "image_token_id", "image_token_index");
  if (config.contains("qformer_config")) {
    rename(config["qformer_config"], "qformer_text_input", "use_qformer_text_input");
  }
  return config;
}

Blip2GeneratorOptions published_options(const json& config, const std::filesystem::path& folder) {
  Blip2GeneratorOptions options;
  read_config(with_present_names(config), options, (folder / "config.json").string(), UnknownKeys::kIgnore);
  return options;
}

}  // namespace blip2
