// One run per folder: two processes that train in the same one would take each other's checkpoints away.
#pragma once

#include <filesystem>

namespace blip2 {

/** Holds a run's folder until it is destroyed, or its process ends in whatever way. */
class RunLock {
 public:
  /**
   * Locks an existing folder; a file system that knows no locks goes without. Throws UserError when another process
   * (or another RunLock) holds it, WorldError when it cannot be opened.
   */
  explicit RunLock(const std::filesystem::path& folder);
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  int descriptor_;
};

}  // namespace blip2
