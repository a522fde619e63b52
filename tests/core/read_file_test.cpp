#include "blip2/core/read_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>

#include "blip2/core/atomic_file.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace blip2 {
namespace {

TEST(ReadFile, GivesEveryByte) {
  const TemporaryFolder folder;
  write_file_atomically(folder.path() / "a", std::string("\0second", 7));
  const auto bytes = read_file(folder.path() / "a", 7);
  EXPECT_EQ(std::string(bytes.begin(), bytes.end()), std::string("\0second", 7));
}

TEST(ReadFile, ErrorsNameTheFile) {
  const TemporaryFolder folder;
  EXPECT_USER_ERROR(read_file(folder.path() / "missing", 10), "missing': no such file");
  EXPECT_USER_ERROR(read_file(folder.path(), 10), "it is a folder, not a file");
  ASSERT_EQ(mkfifo((folder.path() / "pipe").c_str(), 0600), 0);
  EXPECT_USER_ERROR(read_file(folder.path() / "pipe", 10),
                    "pipe': it is a pipe or device, not a regular file");  // and nobody waits
  write_file_atomically(folder.path() / "long", "0123456789");
  EXPECT_USER_ERROR(read_file(folder.path() / "long", 9), "has 10 bytes, more than the 9 that are read");
}

}  // namespace
}  // namespace blip2
