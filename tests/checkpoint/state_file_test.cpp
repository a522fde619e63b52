#include "blip2/checkpoint/state_file.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace blip2 {
namespace {

TEST(StateFile, NumbersStringsAndTensorsComeBackExactly) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "state.safetensors";
  const nlohmann::json values{
      {"step", 12345}, {"seed", 18446744073709551615ULL}, {"loss", 0.1 + 0.2},         {"tiny", 5e-324},
      {"epoch", -1},   {"name", "caf\xc3\xa9 \"x\"\n"},   {"groups", {{{"lr", 1e-4}}}}};
  const auto moment = torch::rand({3, 2});
  save_state(path, {{"exp_avg", moment}}, values);
  const State state = load_state(path);
  EXPECT_EQ(state.values, values);
  EXPECT_EQ(state.values["loss"].get<double>(), 0.1 + 0.2);
  EXPECT_EQ(state.values["seed"].get<std::uint64_t>(), 18446744073709551615ULL);
  ASSERT_EQ(state.tensors.size(), 1U);
  EXPECT_TRUE(torch::equal(state.tensors.at("exp_avg"), moment));
}

TEST(StateFile, OtherFilesAreRefused) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "state.safetensors";
  const std::string sentence = "'" + path.string() + "' is not a state file: its metadata ";
  EXPECT_USER_ERROR(load_state(path), "no such file");
  save_safetensors({}, path);
  EXPECT_USER_ERROR(load_state(path), sentence + "holds no 'state'");
  for (const char* text : {"[1]", "3", "{\"a\":", ""}) {
    save_safetensors({}, path, {{"state", text}});
    EXPECT_USER_ERROR(load_state(path), sentence + "'state' is not a JSON object");
  }
  save_safetensors({}, path, {{"state", std::string(1000000, '[')}});
  EXPECT_USER_ERROR(load_state(path), sentence + "'state' is nested too deeply");
}

TEST(StateFile, WhatJsonCannotHoldIsRefusedBeforeWriting) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "state.safetensors";
  EXPECT_THROW(save_state(path, {}, {{"best", {{"loss", std::nan("")}}}}), c10::Error);
  EXPECT_THROW(save_state(path, {}, nlohmann::json::array()), c10::Error);
  EXPECT_USER_ERROR(save_state(path, {}, {{"name", "\xff"}}), "not valid UTF-8");
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace blip2
