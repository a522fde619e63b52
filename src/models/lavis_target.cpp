#include "models/lavis_target.h"

#include <algorithm>

#include "blip2/core/error.h"
#include "blip2/core/output_path.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

/** What the path means, without a slash at its end. */
fs::path real_path(const fs::path& given) {
  fs::path path = fs::absolute(given).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  return fs::weakly_canonical(path);
}

/** The same where the path is a link: the link itself. */
fs::path real_link(const fs::path& given) {
  fs::path path = fs::absolute(given).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  return fs::weakly_canonical(path.parent_path()) / path.filename();
}

/** Whether `inner` is `outer` or lies in it; both are real paths. */
bool lies_in(const fs::path& inner, const fs::path& outer) {
  return std::mismatch(inner.begin(), inner.end(), outer.begin(), outer.end()).second == outer.end();
}

}  // namespace

void check_apart(const fs::path& target, const std::vector<fs::path>& sources) {
  const fs::path written = real_path(target);
  for (const fs::path& source : sources) {
    if (source.empty()) continue;
    const fs::path read = real_path(source);
    const std::string refusal = "will not replace '" + target.string() + "': ";
    const std::string found = "'" + source.string() + "', which is read, ";
    if (read == written) throw UserError(refusal + "it is read too, choose another name");
    if (lies_in(read, written) || lies_in(real_link(source), written)) {
      throw UserError(refusal + found + "lies in it, choose another name");
    }
    if (lies_in(written, read) && fs::exists(written)) {
      throw UserError(refusal + "it lies in " + found + "choose another name");
    }
  }
}

void check_new_checkpoint(const fs::path& file) {
  const fs::file_status status = fs::status(file);
  if (!file.empty() && (fs::is_directory(status) || !file.has_filename())) {
    throw UserError("'" + file.string() + "' is a folder: expected the name of a new .pth file");
  }
  if (fs::is_regular_file(status)) {
    throw UserError("will not replace the file '" + file.string() + "': remove it first, or choose another name");
  }
  if (file.extension() == ".safetensors") {
    throw UserError("'" + file.string() +
                    "': a LAVIS checkpoint is a file of torch.save, expected a name that ends in .pth");
  }
  check_output_file(file, {});
}

}  // namespace blip2
