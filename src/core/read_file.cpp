#include "blip2/core/read_file.h"

#include <cerrno>
#include <string>
#include <system_error>

#include "blip2/core/error.h"

namespace blip2 {

std::ifstream open_file(const std::filesystem::path& path) {
  std::error_code error;
  const auto refuse = [&](const std::string& reason) {
    throw UserError("cannot open '" + path.string() + "': " + reason);
  };
  // Before it is opened: that would wait for whoever writes to a named pipe.
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (status.type() == std::filesystem::file_type::not_found) refuse("no such file");
  if (error) refuse(error.message());
  if (std::filesystem::is_directory(status)) refuse("it is a folder, not a file");
  if (!std::filesystem::is_regular_file(status)) refuse("it is a pipe or device, not a regular file");
  std::ifstream stream(path, std::ios::binary);
  if (!stream) refuse(errno == 0 ? "it is not readable" : std::generic_category().message(errno));
  return stream;
}

std::vector<std::uint8_t> read_file(const std::filesystem::path& path, std::uint64_t limit) {
  std::error_code error;
  std::ifstream stream = open_file(path);
  const auto size = std::filesystem::file_size(path, error);
  if (error) throw UserError("cannot open '" + path.string() + "': " + error.message());
  if (size > limit) {
    throw UserError("'" + path.string() + "' has " + std::to_string(size) + " bytes, more than the " +
                    std::to_string(limit) + " that are read");
  }
  std::vector<std::uint8_t> bytes(size);
  stream.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size));
  if (stream.gcount() != static_cast<std::streamsize>(size)) {
    throw WorldError("'" + path.string() + "' became shorter while it was read");
  }
  return bytes;
}

}  // namespace blip2
