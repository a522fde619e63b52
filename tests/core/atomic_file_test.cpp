// Every failure here also happens to root, who is refused nothing by permissions.
#include "blip2/core/atomic_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <fstream>

#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

std::string text_of(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::size_t entries_in(const fs::path& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

// No file of this process may grow beyond the limit while the object lives; the signal that would kill it is ignored.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit limit{bytes, old_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit old_{};
  void (*handler_)(int);
};

TEST(AtomicFile, ReplacesTheFileAndLeavesNothingBeside) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "file";
  write_file_atomically(path, "old");
  write_file_atomically(path, [&](ByteSink& sink) {
    sink.write("ne");
    EXPECT_EQ(text_of(path), "old");
    sink.write("w");
  });
  EXPECT_EQ(text_of(path), "new");
  EXPECT_EQ(entries_in(folder.path()), 1U);
}

TEST(AtomicFile, FullDiskLeavesTheOldFileAndNoTemporaryOne) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "file";
  write_file_atomically(path, "old");
  {
    const FileSizeLimit limit(1000);
    EXPECT_WORLD_ERROR(write_file_atomically(path, std::string(5000, 'x')),
                       "cannot write '" + path.string() + "': the file would exceed the largest size allowed");
  }
  EXPECT_EQ(text_of(path), "old");
  EXPECT_EQ(entries_in(folder.path()), 1U);
  EXPECT_WORLD_ERROR(write_file_atomically("/dev/full", "x"), "cannot write '/dev/full': no space left on the disk");
}

TEST(AtomicFile, ExceptionOfTheWriterLeavesTheOldFileAndNoTemporaryOne) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "file";
  write_file_atomically(path, "old");
  EXPECT_THROW(write_file_atomically(path,
                                     [](ByteSink& sink) {
                                       sink.write("half");
                                       throw std::runtime_error("stop");
                                     }),
               std::runtime_error);
  EXPECT_EQ(text_of(path), "old");
  EXPECT_EQ(entries_in(folder.path()), 1U);
}

TEST(AtomicFile, UnwritablePlacesAreNamed) {
  const TemporaryFolder folder;
  const auto missing = folder.path() / "none" / "file";
  EXPECT_WORLD_ERROR(write_file_atomically(missing, "x"),
                     "the folder '" + missing.parent_path().string() + "' does not exist");
  write_file_atomically(folder.path() / "plain", "x");
  EXPECT_WORLD_ERROR(write_file_atomically(folder.path() / "plain" / "file", "x"), "is not a folder");
  EXPECT_WORLD_ERROR(write_file_atomically(folder.path(), "x"), "a folder of that name is in the way");
  EXPECT_WORLD_ERROR(write_file_atomically("/proc/blip2_file", "x"), "cannot write '/proc/blip2_file': ");
  EXPECT_WORLD_ERROR(write_file_atomically("", "x"), "not the name of a file");
}

TEST(AtomicFile, FollowsLinksAndNeverReplacesADevice) {
  const TemporaryFolder folder;
  write_file_atomically(folder.path() / "real", "old");
  fs::create_symlink("real", folder.path() / "link");
  write_file_atomically(folder.path() / "link", "new");
  EXPECT_TRUE(fs::is_symlink(folder.path() / "link"));
  EXPECT_EQ(text_of(folder.path() / "real"), "new");
  write_file_atomically("/dev/null", "x");
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
}

TEST(AtomicFile, ObeysTheUmask) {
  const TemporaryFolder folder;
  const mode_t old = umask(027);
  write_file_atomically(folder.path() / "file", "x");
  umask(old);
  EXPECT_EQ(fs::status(folder.path() / "file").permissions(), fs::perms{0640});
}

}  // namespace
}  // namespace blip2
