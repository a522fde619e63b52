// A file that is either the old one or the complete new one, never half of it: written under a temporary name beside
// the target, flushed to the disk, renamed over the target. Devices and pipes (/dev/null) are written in place.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <string_view>

namespace blip2 {

/** Where the callback of write_file_atomically puts its bytes. */
class ByteSink {
 public:
  virtual ~ByteSink() = default;

  /** Appends `size` bytes at `data`. Throws WorldError when the disk refuses. */
  virtual void write(const void* data, std::size_t size) = 0;
  void write(std::string_view bytes) { write(bytes.data(), bytes.size()); }
};

/**
 * Replaces the file `path` by what `writer` writes, atomically: a crash or an error leaves the old file (or none) in
 * place. A symbolic link is followed. On any failure, also an exception of `writer`, the temporary file
 * `NAME.partial-PID-N` is removed. Throws WorldError that says why: no space, folder missing or not writable.
 */
void write_file_atomically(const std::filesystem::path& path, const std::function<void(ByteSink&)>& writer);

/** The same with the bytes at hand. */
void write_file_atomically(const std::filesystem::path& path, std::string_view bytes);

}  // namespace blip2
