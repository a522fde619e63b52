#include "blip2/core/read_file.h"

#include <fstream>
#include <string>
#include <system_error>

#include "blip2/core/error.h"

namespace blip2 {

std::vector<std::uint8_t> read_file(const std::filesystem::path& path, std::uint64_t limit) {
  std::error_code error;
  const UserError unreadable("cannot open '" + path.string() + "': no such readable file");
  // Before it is opened: that would wait for whoever writes to a named pipe.
  if (!std::filesystem::is_regular_file(path, error)) throw unreadable;
  std::ifstream stream(path, std::ios::binary);
  if (!stream) throw unreadable;
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
