// Dies (in a child process) after every step of a commit and reads what is left.
#include "blip2/core/atomic_folder.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "blip2/core/atomic_file.h"
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

void fill(const AtomicFolder& folder, const std::string& version) {
  fs::create_directory(folder.path() / "inner");
  write_file_atomically(folder.path() / "config.json", version);
  write_file_atomically(folder.path() / "inner" / "weights", version);
}

void publish(const fs::path& target, const std::string& version) {
  AtomicFolder folder(target);
  fill(folder, version);
  folder.commit();
}

// The version of a complete folder; a mixed or half one is a failure.
std::string version_of(const fs::path& target) {
  const fs::path folder = current_folder(target);
  const std::string version = text_of(folder / "config.json");
  EXPECT_EQ(version, text_of(folder / "inner" / "weights"));
  return version;
}

void publish_and_die_after(const fs::path& target, const std::string& version, CommitStep last) {
  const pid_t child = fork();
  if (child == 0) {
    AtomicFolder folder(target);
    fill(folder, version);
    folder.commit([&](CommitStep step) {
      if (step == last) _exit(7);
    });
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(WEXITSTATUS(status), 7);
}

TEST(AtomicFolder, AppearsOnlyWithCommitAndLeavesNothingBeside) {
  const TemporaryFolder parent;
  const auto target = parent.path() / "step";
  {
    AtomicFolder folder(target);
    fill(folder, "new");
    EXPECT_FALSE(fs::exists(target));
    folder.commit();
  }
  EXPECT_EQ(version_of(target), "new");
  publish(target / "", "newer");  // a slash at the end means the same folder
  EXPECT_EQ(version_of(target), "newer");
  EXPECT_EQ(entries_in(parent.path()), 1U);
}

TEST(AtomicFolder, UncommittedOneVanishesAndTheOldOneStays) {
  const TemporaryFolder parent;
  const auto target = parent.path() / "step";
  publish(target, "old");
  { fill(AtomicFolder(target), "new"); }
  EXPECT_EQ(version_of(target), "old");
  EXPECT_EQ(entries_in(parent.path()), 1U);
}

TEST(AtomicFolder, DeathAtAnyStepLeavesOneCompleteFolderAndTheNextCommitWorks) {
  const std::vector<std::pair<CommitStep, std::string>> expected{{CommitStep::kFlushed, "old"},
                                                                 {CommitStep::kOldAway, "old"},
                                                                 {CommitStep::kNewIn, "new"},
                                                                 {CommitStep::kOldRemoved, "new"}};
  for (const auto& [step, version] : expected) {
    SCOPED_TRACE(static_cast<int>(step));
    const TemporaryFolder parent;
    const auto target = parent.path() / "step";
    publish(target, "old");
    publish_and_die_after(target, "new", step);
    EXPECT_EQ(version_of(target), version);
    // A second death at the same place must not lose the only complete folder either.
    if (step != CommitStep::kOldAway) publish_and_die_after(target, "second", step);
    publish_and_die_after(target, "third", CommitStep::kFlushed);
    EXPECT_FALSE(version_of(target).empty());
    publish(target, "last");
    EXPECT_EQ(version_of(target), "last");
    remove_leftovers(target);
    EXPECT_EQ(entries_in(parent.path()), 1U);
  }
}

TEST(AtomicFolder, LeftoverCleaningKeepsTheOnlyCopyAndOtherFolders) {
  const TemporaryFolder parent;
  const auto target = parent.path() / "step";
  publish(target, "old");
  publish(parent.path() / "step-2", "other");
  publish_and_die_after(target, "new", CommitStep::kOldAway);
  remove_leftovers(target);
  EXPECT_EQ(version_of(target), "old");
  EXPECT_EQ(version_of(parent.path() / "step-2"), "other");
  EXPECT_EQ(entries_in(parent.path()), 2U);
  remove_leftovers(parent.path() / "none" / "step");
}

TEST(AtomicFolder, FailedCommitPutsTheOldFolderBack) {
  const TemporaryFolder parent;
  const auto target = parent.path() / "step";
  publish(target, "old");
  AtomicFolder folder(target);
  fill(folder, "new");
  EXPECT_WORLD_ERROR(folder.commit([&](CommitStep step) {
    if (step == CommitStep::kOldAway) fs::remove_all(folder.path());
  }),
                     "cannot write '" + target.string() + "'");
  EXPECT_EQ(version_of(target), "old");
  EXPECT_EQ(entries_in(parent.path()), 1U);
}

TEST(AtomicFolder, RefusesToReplaceWhatItDidNotWrite) {
  const TemporaryFolder parent;
  const auto home = parent.path() / "home";
  fs::create_directory(home);
  publish(home, "an empty folder may be replaced");
  fs::remove(home / "config.json");
  EXPECT_USER_ERROR(AtomicFolder{home}, "will not replace the folder '" + home.string() + "': it is not empty");
  EXPECT_NO_THROW(AtomicFolder(home, "inner"));
  EXPECT_USER_ERROR(check_replaceable(home), "will not replace the folder '" + home.string() + "': it is not empty");
  EXPECT_NO_THROW(check_replaceable(home, "inner"));
  EXPECT_NO_THROW(check_replaceable(parent.path() / "none"));
  EXPECT_USER_ERROR(AtomicFolder{"/"}, "will not replace the folder '/'");
  write_file_atomically(parent.path() / "file", "x");
  EXPECT_USER_ERROR(AtomicFolder{parent.path() / "file"}, "a file of that name is in the way");
}

TEST(AtomicFolder, UnwritableParentIsNamed) {
  const TemporaryFolder parent;
  write_file_atomically(parent.path() / "file", "x");
  EXPECT_WORLD_ERROR(AtomicFolder{parent.path() / "none" / "step"},
                     "the folder '" + (parent.path() / "none").string() + "' does not exist");
  EXPECT_WORLD_ERROR(AtomicFolder{parent.path() / "file" / "step"}, "is not a folder");
}

TEST(AtomicFolder, FollowsALinkToAFolder) {
  const TemporaryFolder parent;
  publish(parent.path() / "real", "old");
  fs::create_directory_symlink("real", parent.path() / "link");
  publish(parent.path() / "link", "new");
  EXPECT_TRUE(fs::is_symlink(parent.path() / "link"));
  EXPECT_EQ(version_of(parent.path() / "real"), "new");
}

}  // namespace
}  // namespace blip2
