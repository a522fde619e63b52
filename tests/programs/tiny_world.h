// Twelve pictures of 16 x 16 pixels with captions, and the smallest models that learn from them: every program does its
// whole work in about a second. Runs that several tests only read are made once per process, when first asked for.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "programs/run_program.h"
#include "support/temporary_folder.h"

namespace blip2 {

class TinyWorld {
 public:
  /** The one of this process. */
  static TinyWorld& instance();

  /** The folder of everything; tests write below it under names of their own. */
  const std::filesystem::path& path() const { return folder_.path(); }
  std::string file(const std::string& name) const { return (path() / name).string(); }

  /** pictures/0.bmp to pictures/11.bmp. */
  std::string picture(int number) const { return file("pictures/" + std::to_string(number) + ".bmp"); }

  nlohmann::json language_model_config() const;
  nlohmann::json stage1_config() const;
  nlohmann::json stage2_config();

  /** Finished runs, trained on the first call. */
  std::string vocabulary();
  std::string language_model();
  std::string stage1();
  std::string stage2();

  /** Writes a config and gives the arguments of a trainer: --config, --output and `more`. */
  std::vector<std::string> arguments(const nlohmann::json& config, const std::string& output,
                                     const std::vector<std::string>& more = {});

 private:
  TinyWorld();
  /** `output` in the world's folder, made by `program` unless it is there. Throws std::runtime_error when it fails. */
  std::string once(const std::string& program, const std::string& output, const std::vector<std::string>& arguments);

  TemporaryFolder folder_;
  int configs_ = 0;
};

std::string read_bytes(const std::filesystem::path& file);
void write_bytes(const std::filesystem::path& file, const std::string& bytes);

/** The log's lines without what depends on the clock. */
std::vector<std::string> timeless_log(const std::filesystem::path& run);

/** Names of the tensors in a safetensors file. */
std::vector<std::string> tensor_names(const std::filesystem::path& file);

/** The values of a float32 tensor in a safetensors file. */
std::vector<float> tensor_values(const std::filesystem::path& file, const std::string& name);
/** The same of an int64 tensor. */
std::vector<std::int64_t> tensor_integers(const std::filesystem::path& file, const std::string& name);

/** Names of all files below a folder. */
std::vector<std::string> files_below(const std::filesystem::path& folder);

}  // namespace blip2
