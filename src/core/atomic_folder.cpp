// The state machine of the header in plain renames; renameat2(RENAME_EXCHANGE) would save step 2 but not every file
// system has it, and a second path would need its own crash tests.
#include "blip2/core/atomic_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <vector>

#include "blip2/core/error.h"
#include "core/file_system.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

fs::path with_suffix(fs::path path, const std::string& suffix) {
  return path += suffix;
}

fs::path previous_of(const fs::path& target) {
  return with_suffix(target, ".previous");
}

// "a/b/", "." and links become the folder they mean, so that names beside it can be formed.
fs::path real_name(const fs::path& given) {
  std::error_code ignored;
  fs::path path = fs::absolute(given).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  return fs::is_symlink(path, ignored) ? fs::weakly_canonical(path) : path;
}

void flush_file_to_disk(const fs::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) throw_write_error(path, errno);
  const int result = ::fsync(descriptor);
  const int reason = errno;
  ::close(descriptor);
  if (result != 0) throw_write_error(path, reason);
}

void flush_tree_to_disk(const fs::path& folder) {
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_symlink()) continue;
    if (entry.is_directory()) flush_folder_to_disk(entry.path());
    if (entry.is_regular_file()) flush_file_to_disk(entry.path());
  }
  flush_folder_to_disk(folder);
}

void refuse_foreign(const fs::path& target, const std::string& marker) {
  if (!fs::exists(target)) return;
  if (!fs::is_directory(target))
    throw UserError("cannot create the folder '" + target.string() + "': a file of that name is in the way");
  if (fs::is_empty(target) || fs::exists(target / marker)) return;
  throw UserError("will not replace the folder '" + target.string() + "': it is not empty and holds no '" + marker +
                  "', choose another name or remove it");
}

}  // namespace

AtomicFolder::AtomicFolder(const fs::path& target, const std::string& marker) : target_(real_name(target)) {
  if (!target_.has_filename()) throw UserError("will not replace the folder '/'");
  try {
    refuse_foreign(target_, marker);
    partial_ = with_suffix(target_, ".partial-" + std::to_string(::getpid()));
    fs::remove_all(partial_);  // left by a dead process that had our number
    fs::create_directory(partial_);
    lock_ = ::open(partial_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock_ >= 0) ::flock(lock_, LOCK_EX | LOCK_NB);  // for prepare_output(): this one is in work
  } catch (const fs::filesystem_error& error) {
    throw_write_error(target_, error.code().value());
  }
}

AtomicFolder::~AtomicFolder() {
  std::error_code ignored;
  if (!committed_) fs::remove_all(partial_, ignored);
  if (lock_ >= 0) ::close(lock_);
}

void AtomicFolder::commit(const std::function<void(CommitStep)>& after) {
  const auto reached = [&](CommitStep step) {
    if (after) after(step);
  };
  const fs::path parent = target_.parent_path();
  const fs::path previous = previous_of(target_);
  const fs::path discarded = with_suffix(target_, ".discarded-" + std::to_string(::getpid()));
  std::error_code ignored;
  const auto discard_previous = [&] {
    fs::remove_all(discarded, ignored);
    const int reason = std::rename(previous.c_str(), discarded.c_str()) == 0 || errno == ENOENT ? 0 : errno;
    fs::remove_all(discarded, ignored);
    return reason;
  };
  try {
    flush_tree_to_disk(partial_);
  } catch (const fs::filesystem_error& error) {
    throw_write_error(target_, error.code().value());
  }
  reached(CommitStep::kFlushed);
  const bool replaces = fs::exists(target_, ignored);
  if (replaces) {
    // While NAME is absent, NAME.previous is the only copy: it may be cleared only here, where NAME exists.
    if (const int reason = discard_previous(); reason != 0) throw_write_error(previous, reason);
    if (std::rename(target_.c_str(), previous.c_str()) != 0) throw_write_error(previous, errno);
    flush_folder_to_disk(parent);
    reached(CommitStep::kOldAway);
  }
  if (std::rename(partial_.c_str(), target_.c_str()) != 0) {
    const int reason = errno;
    if (replaces) std::rename(previous.c_str(), target_.c_str());
    throw_write_error(target_, reason);
  }
  committed_ = true;
  flush_folder_to_disk(parent);
  reached(CommitStep::kNewIn);
  discard_previous();  // the new folder is in: what cannot be removed harms no reader
  reached(CommitStep::kOldRemoved);
}

void check_replaceable(const fs::path& target, const std::string& marker) {
  const fs::path name = real_name(target);
  try {
    refuse_foreign(name, marker);
  } catch (const fs::filesystem_error& error) {
    throw_write_error(name, error.code().value());
  }
}

fs::path current_folder(const fs::path& target) {
  std::error_code ignored;
  if (fs::exists(target, ignored)) return target;
  const fs::path previous = previous_of(real_name(target));
  return fs::is_directory(previous, ignored) ? previous : target;
}

void remove_leftovers(const fs::path& target) noexcept {
  std::error_code ignored;
  try {
    const fs::path name = real_name(target);
    std::vector<fs::path> leftovers;
    if (fs::exists(name)) leftovers.push_back(previous_of(name));
    const std::string partial = name.filename().string() + ".partial-";
    const std::string discarded = name.filename().string() + ".discarded-";
    for (const auto& entry : fs::directory_iterator(name.parent_path())) {
      const std::string found = entry.path().filename().string();
      if (found.starts_with(partial) || found.starts_with(discarded)) leftovers.push_back(entry.path());
    }
    for (const auto& leftover : leftovers) fs::remove_all(leftover, ignored);
  } catch (const std::exception&) {
    return;  // a folder that cannot be listed has nothing that we could remove
  }
}

}  // namespace blip2
