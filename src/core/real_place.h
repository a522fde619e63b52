// Whether two paths mean the same folder: compare what they are called without links, dots and a slash at the end.
#pragma once

#include <filesystem>

namespace blip2 {

/** The absolute path without any of these; what does not exist may be its end. Does not throw for a path it cannot ask.
 */
inline std::filesystem::path real_place(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::path place = std::filesystem::weakly_canonical(path, error);
  if (error) place = std::filesystem::absolute(path, error).lexically_normal();
  if (!place.is_absolute()) place = std::filesystem::absolute(place, error);
  return place.has_filename() ? place : place.parent_path();
}

}  // namespace blip2
