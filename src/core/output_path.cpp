// Writers of NAME.partial-* hold a lock on it (flock, which the kernel takes back from the dead), so a leftover is told
// from a file in work without asking whose process number it has, on network file systems and between containers too.
#include "blip2/core/output_path.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "blip2/core/error.h"
#include "core/file_system.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

fs::path without_slash(const fs::path& given) {
  const fs::path path = fs::absolute(given).lexically_normal();
  return path.has_filename() ? path : path.parent_path();
}

/** The nearest folder above must be one and take new names. */
void check_above(const fs::path& target) {
  std::error_code ignored;
  fs::path above = without_slash(target).parent_path();
  while (!fs::exists(above, ignored) && above.has_relative_path()) above = above.parent_path();
  if (!fs::is_directory(above, ignored)) {
    throw UserError("cannot write '" + target.string() + "': '" + above.string() +
                    "' is a file, expected a folder; choose another name");
  }
  if (::access(above.c_str(), W_OK | X_OK) != 0) throw_write_error(above / target.filename(), errno);
}

bool is_left_by_the_dead(const fs::path& partial) {
  const int descriptor = ::open(partial.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (descriptor < 0) return false;
  const bool is_free = ::flock(descriptor, LOCK_EX | LOCK_NB) == 0;
  ::close(descriptor);
  return is_free;
}

}  // namespace

void check_output_file(const fs::path& file, const std::vector<fs::path>& read) {
  std::error_code ignored;
  if (file.empty()) throw UserError("cannot write '': expected the name of a file");
  if (!file.has_filename() || fs::is_directory(file, ignored)) {
    throw UserError("cannot write '" + file.string() + "': it is a folder, expected the name of a file");
  }
  for (const fs::path& source : read) {
    if (!fs::is_regular_file(source, ignored) || !fs::equivalent(file, source, ignored)) continue;
    throw UserError("will not replace the file '" + file.string() + "': it is " +
                    (file == source ? "" : "'" + source.string() + "', which is ") + "read too; choose another name");
  }
  const fs::file_status status = fs::status(file, ignored);
  if (fs::exists(status) && !fs::is_regular_file(status)) return;  // a device or pipe is written in place
  check_above(file);
}

void check_output_folder(const fs::path& folder) {
  std::error_code ignored;
  if (folder.empty()) throw UserError("cannot create '': expected the name of a folder");
  if (fs::exists(folder, ignored) && !fs::is_directory(folder, ignored)) {
    throw UserError("cannot create the folder '" + folder.string() + "': a file of that name is in the way");
  }
  check_above(folder);
}

void prepare_output(const fs::path& target) {
  const fs::path name = without_slash(target);
  std::error_code error;
  fs::create_directories(name.parent_path(), error);
  if (error) throw WorldError("cannot create the folder '" + name.parent_path().string() + "': " + error.message());
  const std::string partial = name.filename().string() + ".partial-";
  std::vector<fs::path> leftovers;
  for (fs::directory_iterator entry(name.parent_path(), error), end; !error && entry != end; entry.increment(error)) {
    if (entry->path().filename().string().starts_with(partial)) leftovers.push_back(entry->path());
  }
  for (const fs::path& leftover : leftovers) {
    if (is_left_by_the_dead(leftover)) fs::remove_all(leftover, error);
  }
}

}  // namespace blip2
