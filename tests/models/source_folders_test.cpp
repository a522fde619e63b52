#include "blip2/models/source_folders.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

void write_config(const fs::path& folder, const json& config) {
  fs::create_directories(folder);
  std::ofstream(folder / "config.json") << config.dump();
}

/** A stage-2 run beside the model folders that it names. */
class SourceFolders : public testing::Test {
 protected:
  SourceFolders() {
    write_config(at("opt"), json::object());
    write_config(at("tower"), json::object());
    write_config(at("stage1/checkpoint"), {{"origins", {{"vision", {{"path", at("tower")}}}}}});
    write_config(at("stage2/checkpoint"), {{"origins",
                                            {{"stage1", {{"path", at("stage1")}}},
                                             {"language_model", {{"path", at("opt")}}},
                                             {"gone", {{"path", at("gone")}}}}}});
    fs::create_directories(at("stage1/tokenizer"));
  }
  fs::path at(const std::string& name) const { return parent_.path() / name; }

  void expect_refused(const fs::path& target, const fs::path& needed) const {
    EXPECT_USER_ERROR((check_keeps_sources(target, at("stage2")), 0),
                      "will not replace the folder '" + target.string() + "': '" + at("stage2").string() + "' needs '" +
                          needed.string() + "', which would be lost; choose another name");
  }

 private:
  TemporaryFolder parent_;
};

TEST_F(SourceFolders, AreThoseOfTheFrozenPartsToo) {
  const auto folders = source_folders(at("stage2"));
  for (const char* name : {"stage2", "stage2/checkpoint", "stage1", "stage1/tokenizer", "tower", "opt", "gone"}) {
    EXPECT_THAT(folders, testing::Contains(at(name))) << name;
  }
  EXPECT_THAT(source_folders(at("opt")), testing::Not(testing::Contains(at("tower"))));
}

TEST_F(SourceFolders, AreNotReplaced) {
  for (const char* name : {"opt", "tower", "stage1/checkpoint", "stage1/tokenizer", "stage2/checkpoint", "stage2"}) {
    expect_refused(at(name), at(name));
  }
  expect_refused(at(""), at("stage2"));
  expect_refused(at("opt/"), at("opt"));
  expect_refused(at("stage2/../opt/."), at("opt"));
  fs::create_directory_symlink(at("opt"), at("link"));
  expect_refused(at("link"), at("opt"));
}

TEST_F(SourceFolders, AnotherNameIsFree) {
  for (const char* name : {"new", "opt2", "stage2/exported", "opt/exported", "nowhere/new"}) {
    EXPECT_NO_THROW(check_keeps_sources(at(name), at("stage2"))) << name;
  }
}

TEST_F(SourceFolders, WhatCommittingWouldClearIsKeptToo) {
  write_config(at("model.previous"), json::object());
  EXPECT_USER_ERROR((check_keeps_sources(at("model"), at("model.previous")), 0), "which would be lost");
}

TEST_F(SourceFolders, RunsThatNameEachOtherOrNonsenseEnd) {
  write_config(at("a"), {{"origins", {{"stage1", {{"path", at("b")}}}, {"vision", 3}, {"x", {{"path", {1}}}}}}});
  write_config(at("b"), {{"origins", {{"stage1", {{"path", at("a")}}}}}});
  EXPECT_THAT(source_folders(at("a")), testing::Contains(at("b")));
  write_config(at("b"), {{"origins", "a"}});
  EXPECT_THAT(source_folders(at("b")), testing::Contains(at("b")));
}

}  // namespace
}  // namespace blip2
