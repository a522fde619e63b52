#include "blip2/data/feature_store.h"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "blip2/core/atomic_file.h"
#include "blip2/core/config.h"
#include "blip2/core/error.h"
#include "blip2/core/fingerprint.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char *kDescription = "cache.json", *kValues = "features.f32", *kChecksums = "checksums.u64";

std::string reason() {
  return std::strerror(errno);
}

/** Throws UserError naming a part of the key that only one side has or that differs. */
void check_key(const json& stored, const json& asked, const fs::path& folder) {
  json names = asked;
  names.update(stored);
  for (const auto& [name, value] : names.items()) {
    if (stored.contains(name) && asked.contains(name) && stored[name] == asked[name]) continue;
    throw UserError("the feature cache in '" + folder.string() + "' was made with another '" + name +
                    "': delete the folder to fill it anew, or name another one");
  }
}

int open_file(const fs::path& path, std::size_t size) {
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (file < 0) throw WorldError("cannot open '" + path.string() + "': " + reason());
  struct stat status {};
  if (::fstat(file, &status) != 0) {
    ::close(file);
    throw WorldError("cannot read '" + path.string() + "': " + reason());
  }
  const auto found = static_cast<std::size_t>(status.st_size);
  // A file that is new, or whose making was interrupted, is grown; holes take no place on the disk.
  if (found < size && ::ftruncate(file, static_cast<off_t>(size)) != 0) {
    const std::string why = reason();
    ::close(file);
    throw WorldError("cannot make '" + path.string() + "' " + std::to_string(size) + " bytes large: " + why);
  }
  if (found > size) {
    ::close(file);
    throw UserError("'" + path.string() + "' has " + std::to_string(found) + " bytes, expected " +
                    std::to_string(size) + ": delete the folder to fill the feature cache anew");
  }
  return file;
}

void read_all(int file, void* data, std::size_t size, std::size_t offset, const fs::path& path) {
  auto* bytes = static_cast<char*>(data);
  for (std::size_t done = 0; done < size;) {
    const ssize_t count = ::pread(file, bytes + done, size - done, static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) throw WorldError("cannot read '" + path.string() + "': " + (count < 0 ? reason() : "it is short"));
    done += static_cast<std::size_t>(count);
  }
}

void write_all(int file, const void* data, std::size_t size, std::size_t offset, const fs::path& path) {
  const auto* bytes = static_cast<const char*>(data);
  for (std::size_t done = 0; done < size;) {
    const ssize_t count = ::pwrite(file, bytes + done, size - done, static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) throw WorldError("cannot write '" + path.string() + "': " + reason());
    done += static_cast<std::size_t>(count);
  }
}

/** Never 0, which means that there is no record. */
std::uint64_t checksum_of(const void* data, std::size_t size) {
  Fingerprint fingerprint;
  fingerprint.add(data, size);
  return fingerprint.value() == 0 ? 1 : fingerprint.value();
}

}  // namespace

FeatureStore::FeatureStore(const fs::path& folder, const json& key, std::int64_t records,
                           std::vector<std::int64_t> shape)
    : folder_(folder), records_(records), shape_(std::move(shape)) {
  std::int64_t floats = 1;
  for (const std::int64_t size : shape_) floats *= size;
  record_bytes_ = static_cast<std::size_t>(floats) * sizeof(float);
  json description = key;
  description["records"] = records;
  description["shape"] = shape_;
  std::error_code refused;
  fs::create_directories(folder_, refused);
  if (refused) throw WorldError("cannot create '" + folder_.string() + "': " + refused.message());
  const fs::path file = folder_ / kDescription;
  if (fs::exists(file)) {
    check_key(load_json(file), description, folder_);
  } else {
    write_file_atomically(file, description.dump(1) + "\n");
  }
  const auto count = static_cast<std::size_t>(records);
  values_ = open_file(folder_ / kValues, count * record_bytes_);
  try {
    checksums_ = open_file(folder_ / kChecksums, count * sizeof(std::uint64_t));
    std::vector<std::uint64_t> stored(count);
    read_all(checksums_, stored.data(), count * sizeof(std::uint64_t), 0, folder_ / kChecksums);
    known_ = std::make_unique<std::atomic<std::uint64_t>[]>(count);
    for (std::size_t i = 0; i < count; ++i) known_[i] = stored[i];
  } catch (...) {
    ::close(values_);
    if (checksums_ >= 0) ::close(checksums_);
    throw;
  }
}

FeatureStore::~FeatureStore() {
  ::close(values_);
  ::close(checksums_);
}

bool FeatureStore::has(std::int64_t record) const {
  TORCH_CHECK(record >= 0 && record < records_, "feature store: record ", record, " of ", records_);
  return known_[static_cast<std::size_t>(record)] != 0;
}

at::Tensor FeatureStore::read(std::int64_t record) const {
  TORCH_CHECK(has(record), "feature store: record ", record, " has not been written");
  at::Tensor features = at::empty(shape_, at::kFloat);
  const auto index = static_cast<std::size_t>(record);
  read_all(values_, features.mutable_data_ptr(), record_bytes_, index * record_bytes_, folder_ / kValues);
  if (checksum_of(features.const_data_ptr(), record_bytes_) == known_[index]) return features;
  throw UserError("the feature cache in '" + folder_.string() + "' is damaged (record " + std::to_string(record) +
                  "): delete the folder to fill it anew");
}

void FeatureStore::write(std::int64_t record, const at::Tensor& features) {
  TORCH_CHECK(record >= 0 && record < records_ && features.sizes() == shape_ && features.scalar_type() == at::kFloat,
              "feature store: cannot write ", features.sizes(), " as record ", record, " of ", records_);
  const at::Tensor own = features.detach().contiguous();
  const auto index = static_cast<std::size_t>(record);
  const std::uint64_t checksum = checksum_of(own.const_data_ptr(), record_bytes_);
  write_all(values_, own.const_data_ptr(), record_bytes_, index * record_bytes_, folder_ / kValues);
  write_all(checksums_, &checksum, sizeof checksum, index * sizeof checksum, folder_ / kChecksums);
  known_[index] = checksum;
}

}  // namespace blip2
