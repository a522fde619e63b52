#include "models/lavis_texts.h"

#include <nlohmann/json.hpp>
#include <vector>

#include "blip2/core/atomic_file.h"
#include "blip2/core/config.h"
#include "blip2/core/error.h"
#include "blip2/core/read_file.h"
#include "blip2/models/run_folder.h"
#include "models/published_config.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::uint64_t kLargestText = 1 << 30;

bool is_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

/** Copies those of the files that are there. */
void copy_files(const std::vector<const char*>& names, const fs::path& from, const fs::path& to) {
  for (const char* name : names) {
    if (!is_file(from / name)) continue;
    const auto bytes = read_file(from / name, kLargestText);
    write_file_atomically(to / name, [&](ByteSink& sink) { sink.write(bytes.data(), bytes.size()); });
  }
}

json load_object(const fs::path& file) {
  json object = load_json(file);
  if (object.is_object()) return object;
  throw UserError("'" + file.string() + "' must hold a JSON object, found " + object.type_name());
}

void write_processor(const fs::path& like, std::int64_t image_size, const fs::path& folder) {
  ImageTransformOptions transform;
  transform.image_size = image_size;
  json pictures = preprocessor_config(transform);
  const json size = pictures["size"];
  const fs::path own_file = like / "preprocessor_config.json", joint_file = like / "processor_config.json";
  if (!like.empty() && is_file(joint_file)) {
    json joint = load_object(joint_file);
    if (const auto found = joint.find("image_processor"); found != joint.end()) {
      if (!found->is_object()) {
        throw UserError("'" + joint_file.string() + "': 'image_processor' must be an object, found " +
                        found->type_name());
      }
      (*found)["size"] = size;
      pictures = *found;
    }
    write_file_atomically(folder / joint_file.filename(), joint.dump(2) + "\n");
  }
  if (!like.empty() && is_file(own_file)) pictures = load_object(own_file);
  pictures["size"] = size;
  write_file_atomically(folder / own_file.filename(), pictures.dump(2) + "\n");
}

}  // namespace

fs::path tokenizer_source(const LavisSources& sources) {
  for (const fs::path& named : {sources.tokenizer, sources.language_model, sources.like}) {
    if (!named.empty()) return tokenizer_folder(named);
  }
  throw UserError("expected a folder with the tokenizer (bert-base-uncased in stage 1), or a folder like the result");
}

void write_texts(const fs::path& tokenizer, const fs::path& like, std::int64_t image_size, const fs::path& folder) {
  copy_files({"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
              "vocab.txt", "merges.txt", "spiece.model"},
             tokenizer, folder);
  if (!like.empty()) copy_files({"generation_config.json", "chat_template.json", "chat_template.jinja"}, like, folder);
  write_processor(like, image_size, folder);
}

}  // namespace blip2
