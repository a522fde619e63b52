// A regular file read in place with pread: a file that shrinks or a disk that fails while we read is then an error and
// not the SIGBUS of a mapping, and no part of it is in memory that nobody asked for.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>

namespace blip2 {

/** An open file. Safe to read from several threads. */
class ReadOnlyFile {
 public:
  /** Throws UserError when there is no such file or it is a folder or a pipe, WorldError when it cannot be opened. */
  explicit ReadOnlyFile(const std::filesystem::path& path);
  ~ReadOnlyFile();
  ReadOnlyFile(const ReadOnlyFile&) = delete;
  ReadOnlyFile& operator=(const ReadOnlyFile&) = delete;

  const std::string& name() const { return name_; }
  std::uint64_t size() const { return size_; }

  /** `count` bytes from `offset`. Throws WorldError when the disk fails or the file became shorter. */
  void read(std::uint64_t offset, void* into, std::uint64_t count) const;

  /** The bytes from `offset` as a tensor [shape], row-major, read by several threads where it is large. Throws so too.
   */
  at::Tensor read_tensor(std::uint64_t offset, at::IntArrayRef shape, at::ScalarType dtype) const;

  /**
   * The same into `target`, whose dtype and device may be others: a tensor on the CPU is converted piece by piece, so
   * that no second copy is in memory. Records no gradient.
   */
  void read_into(at::Tensor target, std::uint64_t offset, at::ScalarType dtype) const;

 private:
  void read_values(std::uint64_t offset, at::ScalarType dtype, void* into, std::uint64_t bytes) const;

  std::string name_;
  int descriptor_;
  std::uint64_t size_ = 0;
};

}  // namespace blip2
