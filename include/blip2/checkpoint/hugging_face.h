// A Hugging Face model folder: config.json beside the weights in model.safetensors, or in the shards that
// model.safetensors.index.json names, or in older folders in pytorch_model.bin or the shards of
// pytorch_model.bin.index.json; the first of these four that is there counts. Hugging Face spec 2.6. Where a writer
// died between two renames, `NAME.previous` is read instead (core/atomic_folder.h).
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <variant>
#include <vector>

#include "blip2/checkpoint/safetensors.h"
#include "blip2/checkpoint/torch_archive.h"

namespace blip2 {

/** The object in FOLDER/config.json. Throws UserError that names what was looked for. */
nlohmann::json load_model_config(const std::filesystem::path& folder);

/** The tensors of a model folder, read one at a time from one file or many. Safe to read from several threads. */
class ModelTensors {
 public:
  /**
   * Opens every file and checks headers and index. Throws UserError when the folder holds none of the four, when a
   * shard is missing or not a plain file name, or when a shard lacks a tensor that the index places in it. A tensor
   * that a shard holds and the index does not name is passed over.
   */
  explicit ModelTensors(const std::filesystem::path& folder);

  const std::filesystem::path& folder() const { return folder_; }

  /** Every name, in order. */
  std::vector<std::string> names() const;

  bool contains(const std::string& name) const { return file_of_.count(name) != 0; }

  /** Shape and dtype of one tensor. Throws UserError when the folder does not hold it. */
  const TensorInfo& info(const std::string& name) const;

  /** The name of the file with that tensor. Throws as `info` does. */
  std::string file_of(const std::string& name) const;

  /** One tensor as an own copy on the CPU, in the file's dtype. Throws as `info` does. */
  at::Tensor read(const std::string& name) const;

  /** Its first values [min(count, all)], row by row; from a safetensors file nothing else is read. Throws as `info`. */
  at::Tensor read_first(const std::string& name, std::int64_t count) const;

  /** The whole into a tensor of the same shape, of any dtype and device. */
  void read_into(at::Tensor target, const std::string& name) const;

 private:
  struct File {
    std::string name;
    std::variant<SafetensorsFile, TorchStateDict> contents;
  };
  static File open(const std::filesystem::path& path, bool pickled);
  void open_shards(const std::filesystem::path& index, bool pickled);
  const File& file_with(const std::string& name) const;

  std::filesystem::path folder_;
  std::vector<File> files_;
  std::map<std::string, std::size_t> file_of_;
};

/** Every tensor of a model folder. Throws as ModelTensors does. */
NamedTensors load_model_tensors(const std::filesystem::path& folder);

/**
 * Writes `model.safetensors`, or shards of at most `largest_file` bytes of data and their index, into an existing
 * folder. A tensor beyond the limit gets a file of its own. Write into an AtomicFolder: several files are not atomic
 * together.
 */
void save_model_tensors(const NamedTensors& tensors, const std::filesystem::path& folder,
                        std::uint64_t largest_file = 5'000'000'000);

}  // namespace blip2
