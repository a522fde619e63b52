#include "blip2/core/output_path.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "blip2/core/atomic_file.h"
#include "blip2/core/atomic_folder.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

TEST(OutputPath, AFileThatIsReadIsNotReplaced) {
  const TemporaryFolder folder;
  const fs::path picture = folder.path() / "picture.png", link = folder.path() / "link.png";
  write_file_atomically(picture, "pixels");
  fs::create_symlink(picture, link);
  EXPECT_USER_ERROR(check_output_file(picture, {folder.path() / "other", picture}),
                    "will not replace the file '" + picture.string() + "': it is read too; choose another name");
  EXPECT_USER_ERROR(check_output_file(link, {picture}), "will not replace the file '" + link.string() + "': it is '" +
                                                            picture.string() + "', which is read too");
  EXPECT_NO_THROW(check_output_file(folder.path() / "new", {picture}));
  EXPECT_NO_THROW(check_output_file(picture, {}));
  EXPECT_NO_THROW(check_output_file("/dev/null", {picture}));
}

TEST(OutputPath, NamesThatCannotBeWrittenAreToldBeforeTheWork) {
  const TemporaryFolder folder;
  write_file_atomically(folder.path() / "file", "x");
  EXPECT_USER_ERROR(check_output_file("", {}), "cannot write '': expected the name of a file");
  EXPECT_USER_ERROR(check_output_file(folder.path(), {}), "': it is a folder, expected the name of a file");
  EXPECT_USER_ERROR(check_output_file(folder.path() / "new/", {}), "it is a folder, expected the name of a file");
  EXPECT_USER_ERROR(check_output_file(folder.path() / "file" / "deep" / "new", {}),
                    "'" + (folder.path() / "file").string() + "' is a file, expected a folder; choose another name");
  EXPECT_USER_ERROR(check_output_folder(""), "cannot create '': expected the name of a folder");
  EXPECT_USER_ERROR(check_output_folder(folder.path() / "file"), "a file of that name is in the way");
  EXPECT_USER_ERROR(check_output_folder(folder.path() / "file" / "new"), "is a file, expected a folder");
  EXPECT_NO_THROW(check_output_folder(folder.path() / "a/b/c/"));
  EXPECT_FALSE(fs::exists(folder.path() / "a"));
}

TEST(OutputPath, MissingFoldersAboveAreCreated) {
  const TemporaryFolder folder;
  const fs::path target = folder.path() / "a" / "b" / "target";
  prepare_output(target);
  EXPECT_TRUE(fs::is_directory(target.parent_path()));
  EXPECT_FALSE(fs::exists(target));
}

/** A process that dies as by `kill -9` while it writes. */
template <typename Write>
void die_while(Write write) {
  const pid_t child = fork();
  if (child == 0) {
    write();
    _exit(1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(WEXITSTATUS(status), 7);
}

std::size_t entries_in(const fs::path& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

TEST(OutputPath, OnlyWhatTheDeadLeftIsRemoved) {
  const TemporaryFolder folder;
  const fs::path model = folder.path() / "model", file = folder.path() / "features";
  die_while([&] {
    AtomicFolder partial(model);
    write_file_atomically(partial.path() / "config.json", "{}");
    _exit(7);
  });
  die_while([&] { write_file_atomically(file, [](ByteSink&) { _exit(7); }); });
  EXPECT_EQ(entries_in(folder.path()), 2U);
  const AtomicFolder living(model);
  write_file_atomically(file, [&](ByteSink& sink) {
    sink.write("half");
    EXPECT_EQ(entries_in(folder.path()), 4U);
    prepare_output(model);
    prepare_output(file);
    EXPECT_EQ(entries_in(folder.path()), 2U);  // those of the living
    sink.write(" and half");
  });
  EXPECT_EQ(fs::file_size(file), std::string("half and half").size());
  EXPECT_TRUE(fs::exists(living.path()));
}

}  // namespace
}  // namespace blip2
