// The index is a hostile file too: a shard name must stay inside the folder.
#include "blip2/checkpoint/hugging_face.h"

#include <algorithm>
#include <cstdio>

#include "blip2/core/atomic_file.h"
#include "blip2/core/atomic_folder.h"
#include "blip2/core/config.h"
#include "blip2/core/error.h"
#include "core/in_quotes.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

constexpr const char* kConfig = "config.json";
constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr const char* kPickledSingle = "pytorch_model.bin";
constexpr const char* kPickledIndex = "pytorch_model.bin.index.json";

fs::path existing_folder(const fs::path& given) {
  std::error_code ignored;
  const fs::path folder = current_folder(given);
  if (fs::is_directory(folder, ignored)) return folder;
  throw UserError("cannot open the model folder '" + given.string() +
                  "': " + (fs::exists(folder, ignored) ? "it is not a folder" : "it does not exist"));
}

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

bool is_plain_file_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string("/\\\0", 3)) == std::string::npos;
}

// Tensors in order of name, packed greedily.
std::vector<NamedTensors> pack(const NamedTensors& tensors, std::uint64_t largest_file) {
  std::vector<NamedTensors> shards(1);
  std::uint64_t filled = 0;
  for (const auto& [name, tensor] : tensors) {
    if (!shards.back().empty() && filled + tensor.nbytes() > largest_file) {
      shards.emplace_back();
      filled = 0;
    }
    shards.back().emplace(name, tensor);
    filled += tensor.nbytes();
  }
  return shards;
}

std::string shard_name(std::size_t number, std::size_t count) {
  char name[64];
  std::snprintf(name, sizeof(name), "model-%05zu-of-%05zu.safetensors", number, count);
  return name;
}

}  // namespace

nlohmann::json load_model_config(const fs::path& folder) {
  const fs::path path = existing_folder(folder) / kConfig;
  if (!is_there(path)) {
    throw UserError("'" + folder.string() + "' holds no " + kConfig + ": expected the folder of a Hugging Face model");
  }
  nlohmann::json config = load_json(path);
  if (!config.is_object())
    throw UserError("'" + path.string() + "' must hold a JSON object, found " + config.type_name());
  return config;
}

ModelTensors::ModelTensors(const fs::path& folder) : folder_(existing_folder(folder)) {
  for (const bool pickled : {false, true}) {
    const fs::path single = folder_ / (pickled ? kPickledSingle : kSingle);
    const fs::path index = folder_ / (pickled ? kPickledIndex : kIndex);
    if (is_there(single)) {
      files_.push_back(open(single, pickled));
      std::visit(
          [&](const auto& file) {
            for (const auto& entry : file.tensors()) file_of_.emplace(entry.name, 0);
          },
          files_.front().contents);
      return;
    }
    if (is_there(index)) {
      open_shards(index, pickled);
      return;
    }
  }
  throw UserError("'" + folder.string() + "' holds none of " + kSingle + ", " + kIndex + ", " + kPickledSingle +
                  " and " + kPickledIndex);
}

ModelTensors::File ModelTensors::open(const fs::path& path, bool pickled) {
  if (pickled) return {path.filename().string(), TorchStateDict(path)};
  return {path.filename().string(), SafetensorsFile(path)};
}

void ModelTensors::open_shards(const fs::path& index, bool pickled) {
  const std::string where = "'" + index.string() + "': ";
  const nlohmann::json root = load_json(index);
  const auto weight_map = root.is_object() ? root.find("weight_map") : root.end();
  if (weight_map == root.end() || !weight_map->is_object()) {
    throw UserError(where + "'weight_map' must be an object that maps tensors to files");
  }
  std::map<std::string, std::size_t> opened;
  for (const auto& [name, file] : weight_map->items()) {
    if (!file.is_string() || !is_plain_file_name(file.get_ref<const std::string&>())) {
      throw UserError(where + "the file of tensor " + in_quotes(name) + " must be a plain file name, found " +
                      in_quotes(file.is_string() ? file.get<std::string>() : file.type_name()));
    }
    const auto [shard, is_new] = opened.emplace(file.get<std::string>(), files_.size());
    if (is_new) {
      if (!is_there(folder_ / shard->first)) {
        throw UserError(where + "the shard " + in_quotes(shard->first) + " is missing from the folder, fetch it again");
      }
      files_.push_back(open(folder_ / shard->first, pickled));
    }
    if (!std::visit([&](const auto& opened_file) { return opened_file.contains(name); },
                    files_[shard->second].contents)) {
      throw UserError(where + "tensor " + in_quotes(name) + " is not in the shard " + in_quotes(shard->first));
    }
    file_of_.emplace(name, shard->second);
  }
}

std::vector<std::string> ModelTensors::names() const {
  std::vector<std::string> names;
  for (const auto& [name, file] : file_of_) names.push_back(name);
  return names;
}

const ModelTensors::File& ModelTensors::file_with(const std::string& name) const {
  const auto found = file_of_.find(name);
  if (found == file_of_.end()) throw UserError("'" + folder_.string() + "' holds no tensor " + in_quotes(name));
  return files_[found->second];
}

const TensorInfo& ModelTensors::info(const std::string& name) const {
  return std::visit([&](const auto& file) -> const TensorInfo& { return file.info(name); }, file_with(name).contents);
}
std::string ModelTensors::file_of(const std::string& name) const {
  return file_with(name).name;
}
at::Tensor ModelTensors::read(const std::string& name) const {
  return std::visit([&](const auto& file) { return file.read(name); }, file_with(name).contents);
}
at::Tensor ModelTensors::read_first(const std::string& name, std::int64_t count) const {
  if (const auto* file = std::get_if<SafetensorsFile>(&file_with(name).contents)) return file->read_first(name, count);
  const at::Tensor flat = read(name).reshape({-1});
  return flat.narrow(0, 0, std::min(count, flat.numel()));
}
void ModelTensors::read_into(at::Tensor target, const std::string& name) const {
  if (const auto* file = std::get_if<SafetensorsFile>(&file_with(name).contents)) {
    file->read_into(std::move(target), name);
  } else {
    target.copy_(read(name));
  }
}

NamedTensors load_model_tensors(const fs::path& folder) {
  const ModelTensors tensors(folder);
  NamedTensors loaded;
  for (const auto& name : tensors.names()) loaded.emplace(name, tensors.read(name));
  return loaded;
}

void save_model_tensors(const NamedTensors& tensors, const fs::path& folder, std::uint64_t largest_file) {
  const auto shards = pack(tensors, largest_file);
  if (shards.size() == 1) {
    save_safetensors(tensors, folder / kSingle);
    return;
  }
  nlohmann::json weight_map = nlohmann::json::object();
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const std::string file = shard_name(i + 1, shards.size());
    save_safetensors(shards[i], folder / file);
    for (const auto& [name, tensor] : shards[i]) {
      weight_map[name] = file;
      total += tensor.nbytes();
    }
  }
  const nlohmann::json index{{"metadata", {{"total_size", total}}}, {"weight_map", weight_map}};
  write_file_atomically(folder / kIndex, index.dump(2) + "\n");
}

}  // namespace blip2
