// Write beside, fsync, rename, fsync the folder: the order that survives a power cut on journalling file systems.
#include "blip2/core/atomic_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <string>
#include <system_error>

#include "blip2/core/error.h"
#include "core/file_system.h"

namespace blip2 {
namespace {

// Linux transfers at most 2 GiB in one call.
constexpr std::size_t kLargestWrite = std::size_t{1} << 30;

class Descriptor final : public ByteSink {
 public:
  Descriptor(const std::filesystem::path& opened, const std::filesystem::path& shown, int flags)
      : shown_(shown), descriptor_(::open(opened.c_str(), flags | O_WRONLY | O_CLOEXEC, 0666)) {
    if (descriptor_ < 0) throw_write_error(shown_, errno);
  }
  /** Tells prepare_output() that the file is in work; where locks do not work, nothing is ever taken for a leftover. */
  void lock() { ::flock(descriptor_, LOCK_EX | LOCK_NB); }
  ~Descriptor() override {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  using ByteSink::write;
  void write(const void* data, std::size_t size) override {
    const char* next = static_cast<const char*>(data);
    while (size > 0) {
      const ssize_t written = ::write(descriptor_, next, std::min(size, kLargestWrite));
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) throw_write_error(shown_, written < 0 ? errno : ENOSPC);
      next += written;
      size -= static_cast<std::size_t>(written);
    }
  }

  void flush_to_disk() {
    if (::fsync(descriptor_) != 0) throw_write_error(shown_, errno);
  }

  void close() {
    const int descriptor = descriptor_;
    descriptor_ = -1;
    // Network file systems report a full disk only here.
    if (::close(descriptor) != 0 && errno != EINTR) throw_write_error(shown_, errno);
  }

 private:
  std::filesystem::path shown_;
  int descriptor_;
};

class RemovedUnlessRenamed {
 public:
  explicit RemovedUnlessRenamed(std::filesystem::path path) : path_(std::move(path)) {}
  ~RemovedUnlessRenamed() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  RemovedUnlessRenamed(const RemovedUnlessRenamed&) = delete;
  RemovedUnlessRenamed& operator=(const RemovedUnlessRenamed&) = delete;

  void rename_to(const std::filesystem::path& target) {
    if (::rename(path_.c_str(), target.c_str()) != 0) throw_write_error(target, errno);
    path_.clear();
  }

 private:
  std::filesystem::path path_;
};

std::filesystem::path beside(const std::filesystem::path& target) {
  static std::atomic<unsigned> counter{0};
  std::filesystem::path name = target;
  name += ".partial-" + std::to_string(::getpid()) + "-" + std::to_string(counter++);
  return name;
}

}  // namespace

void write_file_atomically(const std::filesystem::path& path, const std::function<void(ByteSink&)>& writer) {
  std::error_code ignored;
  const auto target =
      std::filesystem::is_symlink(path, ignored) ? std::filesystem::weakly_canonical(path, ignored) : path;
  if (target.empty()) throw WorldError("cannot write '" + path.string() + "': not the name of a file");
  const auto status = std::filesystem::status(target, ignored);
  if (std::filesystem::is_directory(status)) throw_write_error(path, EISDIR);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
    Descriptor device(target, path, 0);
    writer(device);
    device.close();
    return;
  }
  const auto temporary = beside(target);
  ::unlink(temporary.c_str());  // left by a dead process that had our number
  Descriptor file(temporary, path, O_CREAT | O_EXCL);
  file.lock();
  RemovedUnlessRenamed guard(temporary);
  writer(file);
  file.flush_to_disk();
  file.close();
  guard.rename_to(target);
  flush_folder_to_disk(target.parent_path());
}

void write_file_atomically(const std::filesystem::path& path, std::string_view bytes) {
  write_file_atomically(path, [&](ByteSink& sink) { sink.write(bytes); });
}

}  // namespace blip2
