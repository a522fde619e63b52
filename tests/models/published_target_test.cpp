#include "blip2/models/published_target.h"

#include <gtest/gtest.h>

#include "blip2/core/atomic_file.h"
#include "blip2/models/source_folders.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

class PublishedTarget : public testing::Test {
 protected:
  void write(const std::string& name, const std::string& text = "x") {
    fs::create_directories((model_ / name).parent_path());
    write_file_atomically(model_ / name, text);
  }
  void write_model() {
    write("config.json", R"({"model_type": "blip-2"})");
    for (const char* name : {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "tokenizer.json",
                             "model.safetensors.index.json", "pytorch_model.bin", "stage1_heads.safetensors"}) {
      write(name);
    }
  }

  const TemporaryFolder folder_;
  const fs::path model_ = folder_.path() / "model";
  const std::string refusal_ = "will not replace the folder '" + model_.string() + "': ";
};

TEST_F(PublishedTarget, AModelAndAnEmptyFolderMayGo) {
  EXPECT_NO_THROW(check_published_target(model_));
  fs::create_directory(model_);
  EXPECT_NO_THROW(check_published_target(model_));
  write_model();
  EXPECT_NO_THROW(check_published_target(model_));
}

TEST_F(PublishedTarget, WhatIsNoPartOfAModelKeepsItsFolder) {
  for (const char* name : {"notes.txt", "train_state.safetensors", "adapter_model.safetensors", "pictures/1.png",
                           "model-best.safetensors", "tokenizer.json/x"}) {
    fs::remove_all(model_);
    write("config.json", R"({"model_type": "blip-2"})");
    write(name);
    const std::string entry = fs::path(name).begin()->string();
    EXPECT_USER_ERROR(
        check_published_target(model_),
        refusal_ + "it holds '" + entry + "', which is no part of a published model; choose another name");
  }
}

TEST_F(PublishedTarget, AModelOfAnotherKindKeepsItsFolder) {
  write("config.json", R"({"model_type": "opt"})");
  write("model.safetensors");
  EXPECT_USER_ERROR(check_published_target(model_), refusal_ + "its config.json is not of a BLIP-2 model but of 'opt'");
  write("config.json", "[]");
  EXPECT_USER_ERROR(check_published_target(model_), "is not of a BLIP-2 model");
  fs::remove(model_ / "config.json");
  EXPECT_USER_ERROR(check_published_target(model_), refusal_ + "it is not empty and holds no 'config.json'");
}

TEST_F(PublishedTarget, FilesThatAModelIsReadFromAreNamed) {
  write_model();
  write("features.safetensors");
  const auto files = source_files(model_, {});
  const auto has = [&](const char* name) {
    return std::find(files.begin(), files.end(), model_ / name) != files.end();
  };
  EXPECT_TRUE(has("config.json"));
  EXPECT_TRUE(has("pytorch_model.bin"));
  EXPECT_FALSE(has("features.safetensors"));
}

}  // namespace
}  // namespace blip2
