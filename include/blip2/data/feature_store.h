// Records of float32 on disk, all of one shape, each computed once and read ever after: what a frozen image encoder
// makes of the pictures of a data set. The store knows what its numbers depend on and refuses to be used for anything
// else. A record counts from the moment its checksum is written, which comes last, so a killed program leaves no half
// records.
#pragma once

#include <ATen/core/Tensor.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

namespace blip2 {

class FeatureStore {
 public:
  /**
   * Opens the store in `folder` or makes one of `records` records [shape...]. `key` holds, by name, everything that the
   * numbers depend on. Throws UserError that names the first part of the key that differs from the store's, or says
   * that its files are damaged; WorldError where the disk refuses.
   */
  FeatureStore(const std::filesystem::path& folder, const nlohmann::json& key, std::int64_t records,
               std::vector<std::int64_t> shape);
  ~FeatureStore();
  FeatureStore(const FeatureStore&) = delete;
  FeatureStore& operator=(const FeatureStore&) = delete;

  std::int64_t size() const { return records_; }
  /** Whether a record has been written. From any thread. */
  bool has(std::int64_t record) const;
  /** One record, [shape...]. Throws UserError where it is damaged, WorldError where it cannot be read. */
  at::Tensor read(std::int64_t record) const;
  /** Writes one record; `features` float32 [shape...] on the CPU. Throws WorldError. */
  void write(std::int64_t record, const at::Tensor& features);

 private:
  std::filesystem::path folder_;
  std::int64_t records_;
  std::vector<std::int64_t> shape_;
  std::size_t record_bytes_;
  int values_ = -1, checksums_ = -1;                     // file descriptors
  std::unique_ptr<std::atomic<std::uint64_t>[]> known_;  // the checksums; 0: not written
};

}  // namespace blip2
