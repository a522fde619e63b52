#include "blip2/core/read_file.h"

#include <fstream>

#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace blip2 {
namespace {

TEST(ReadFile, GivesAllBytesOrNamesTheFile) {
  const TemporaryFolder folder;
  std::ofstream(folder.path() / "long", std::ios::binary) << std::string(
      "\0"
      "123456789",
      10);
  const auto bytes = read_file(folder.path() / "long", 10);
  EXPECT_EQ(std::string(bytes.begin(), bytes.end()), std::string("\0"
                                                                 "123456789",
                                                                 10));
  EXPECT_USER_ERROR(read_file(folder.path() / "long", 9), "has 10 bytes, more than the 9 that are read");
  EXPECT_USER_ERROR(read_file(folder.path() / "missing", 10), "missing': no such readable file");
  EXPECT_USER_ERROR(read_file(folder.path(), 10), "no such readable file");
}

}  // namespace
}  // namespace blip2
