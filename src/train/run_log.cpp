#include "blip2/train/run_log.h"

#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <nlohmann/json.hpp>

#include "blip2/core/atomic_file.h"
#include "core/file_system.h"

namespace blip2 {
namespace {

// The complete lines of steps up to `last_step`; what follows a damaged line is not trusted.
std::string kept_lines(const std::filesystem::path& path, std::int64_t last_step) {
  std::ifstream stream(path, std::ios::binary);
  std::string kept, line;
  while (std::getline(stream, line) && !stream.eof()) {
    const auto object = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!object.is_object() || !object.contains("step") || !object["step"].is_number_integer()) break;
    if (object["step"].get<std::int64_t>() > last_step) break;
    kept += line + "\n";
  }
  return kept;
}

}  // namespace

std::string log_line(const StepRecord& record) {
  nlohmann::ordered_json line;
  line["step"] = record.step;
  line["loss"] = record.loss;
  line["losses"] = nlohmann::ordered_json::object();
  for (const auto& [name, value] : record.parts) line["losses"][name] = value;
  line["learning_rate"] = record.learning_rate;
  line["grad_norm"] = record.grad_norm;
  if (record.skipped) line["skipped"] = true;
  if (record.loss_scale != 1) line["loss_scale"] = record.loss_scale;
  for (const auto& [name, value] : record.validation) line["validation"][name] = value;
  line["timing"]["seconds"] = record.seconds;
  line["timing"]["data_seconds"] = record.data_seconds;
  line["timing"][record.sample_unit + "_per_second"] = record.samples_per_second();
  return line.dump();
}

RunLog::RunLog(const std::filesystem::path& path, std::int64_t last_step) : path_(path) {
  std::error_code ignored;
  if (std::filesystem::is_regular_file(path, ignored)) {
    const std::string kept = kept_lines(path, last_step);
    if (kept.size() != std::filesystem::file_size(path, ignored)) write_file_atomically(path, kept);
  }
  file_.reset(std::fopen(path.c_str(), "ab"));
  if (!file_) throw_write_error(path, errno);
}

void RunLog::write(const StepRecord& record) {
  const std::string line = log_line(record) + "\n";
  if (std::fwrite(line.data(), 1, line.size(), file_.get()) != line.size() || std::fflush(file_.get()) != 0) {
    throw_write_error(path_, errno);
  }
}

void RunLog::flush_to_disk() {
  if (::fsync(::fileno(file_.get())) == 0) return;
  if (errno != EINVAL && errno != EROFS) throw_write_error(path_, errno);  // those two: a device, which has no disk
}

}  // namespace blip2
