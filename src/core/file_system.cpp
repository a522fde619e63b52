// Sentences for errno values a user meets when writing; the rest get the system's own words.
#include "core/file_system.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "blip2/core/error.h"

namespace blip2 {

void throw_write_error(const std::filesystem::path& path, int error_number) {
  const std::string folder = path.has_parent_path() ? path.parent_path().string() : ".";
  std::string reason;
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
      reason = "no space left on the disk";
      break;
    case EFBIG:
      reason = "the file would exceed the largest size allowed (ulimit -f, or the file system's limit)";
      break;
    case ENOENT:
      reason = "the folder '" + folder + "' does not exist";
      break;
    case ENOTDIR:
      reason = "'" + folder + "' is not a folder";
      break;
    case EISDIR:
      reason = "a folder of that name is in the way";
      break;
    case EROFS:
    case EACCES:
    case EPERM:
      reason = "the folder '" + folder + "' is not writable";
      break;
    default:
      reason = std::generic_category().message(error_number);
  }
  throw WorldError("cannot write '" + path.string() + "': " + reason);
}

void flush_folder_to_disk(const std::filesystem::path& folder) {
  const int descriptor = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}

void flush_file_system_to_disk(const std::filesystem::path& folder) {
  const int descriptor = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) throw_write_error(folder, errno);
  const int reason = ::syncfs(descriptor) == 0 ? 0 : errno;
  ::close(descriptor);
  if (reason != 0) throw_write_error(folder, reason);
}

}  // namespace blip2
