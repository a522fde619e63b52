// A folder that is either the old one or the complete new one. Names beside the target NAME and the states between
// them:
//
//   building         NAME.partial-PID grows               NAME is the old folder or absent
//   commit 1 flush   NAME.partial-PID is complete         NAME is the old folder or absent
//   commit 2 away    NAME renamed to NAME.previous        NAME is absent, NAME.previous is the old folder
//   commit 3 in      NAME.partial-PID renamed to NAME     NAME is the new folder, NAME.previous the old one
//   commit 4 clear   NAME.previous renamed to NAME.discarded-PID and removed
//
// A rename is all or nothing, and NAME.previous appears and disappears by rename only, so whichever of NAME and then
// NAME.previous exists is complete: `current_folder` is all that a reader needs after a crash at any point.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

namespace blip2 {

/** The states above, in order, as commit reaches them. */
enum class CommitStep { kFlushed, kOldAway, kNewIn, kOldRemoved };

/** Builds a folder beside its place and publishes it with `commit`; an uncommitted one is removed by the destructor. */
class AtomicFolder {
 public:
  /**
   * Creates the empty `NAME.partial-PID`. A symbolic link is followed. An older folder will be replaced only if it is
   * empty or holds a file named `marker`: a mistyped path must not cost someone their home folder (UserError). Throws
   * WorldError when the parent folder is missing or not writable.
   */
  explicit AtomicFolder(const std::filesystem::path& target, const std::string& marker = "config.json");
  ~AtomicFolder();
  AtomicFolder(const AtomicFolder&) = delete;
  AtomicFolder& operator=(const AtomicFolder&) = delete;

  /** Where to write the files until `commit`. */
  const std::filesystem::path& path() const { return partial_; }

  /**
   * Publishes the folder under its name and removes the older one. `after` is called after each step (a test dies
   * there). Throws WorldError when the disk refuses; the older folder is then back under its name.
   */
  void commit(const std::function<void(CommitStep)>& after = nullptr);

 private:
  std::filesystem::path target_;
  std::filesystem::path partial_;
  int lock_ = -1;  // on the folder in work
  bool committed_ = false;
};

/**
 * Throws UserError when AtomicFolder would not replace what is there under the name `target`, WorldError when that
 * cannot be told.
 */
void check_replaceable(const std::filesystem::path& target, const std::string& marker = "config.json");

/** The folder to read for `target`: itself, or `NAME.previous` where a writer died between two renames. */
std::filesystem::path current_folder(const std::filesystem::path& target);

/**
 * Removes what dead writers of `target` left beside it: every NAME.partial-* and NAME.discarded-*, and NAME.previous
 * where NAME exists. Only for a moment when no process writes `target`. Does not throw.
 */
void remove_leftovers(const std::filesystem::path& target) noexcept;

}  // namespace blip2
