// flock and not a lock file: the kernel takes the lock back from a process that was killed.
#include "train/run_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>

#include "blip2/core/error.h"

namespace blip2 {

RunLock::RunLock(const std::filesystem::path& folder)
    : descriptor_(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
  if (descriptor_ < 0) {
    throw WorldError("cannot open '" + folder.string() + "': " + std::generic_category().message(errno));
  }
  int refused = 0;
  do {
    refused = ::flock(descriptor_, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
  } while (refused == EINTR);
  if (refused != EWOULDBLOCK) return;  // whatever else it may be (ENOLCK, ENOTSUP, ENOSYS ...): nobody holds it
  ::close(descriptor_);
  throw UserError("another process is training in '" + folder.string() +
                  "': wait for its end or stop it, or choose another output folder");
}

RunLock::~RunLock() {
  ::close(descriptor_);
}

}  // namespace blip2
