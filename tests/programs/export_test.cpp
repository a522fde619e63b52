// The program export: what it writes says the same as what it was made of, here and in Python.
#include <gmock/gmock.h>

#include "programs/tiny_world.h"

namespace blip2 {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::IsSupersetOf;

TinyWorld& world() {
  return TinyWorld::instance();
}

std::string published(const std::string& name) {
  return std::string(BLIP2_TEST_DATA) + "/cases/" + name + "/model";
}

/** The folder that `model` was exported to under this name. */
std::string exported(const std::string& model, const std::string& name, const std::vector<std::string>& more = {}) {
  std::vector<std::string> arguments = {"--model", model, "--output", world().file(name)};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const Outcome outcome = run("export", arguments);
  EXPECT_TRUE(succeeded(outcome));
  EXPECT_THAT(outcome.output, HasSubstr(world().file(name) + ": Blip2For"));
  return world().file(name);
}

/** What a program says about three pictures. */
std::string answers(const std::string& program, const std::string& model, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"--model", model, "--json"});
  for (const int number : {0, 3, 7}) arguments.push_back(world().picture(number));
  const Outcome outcome = run(program, arguments);
  EXPECT_TRUE(succeeded(outcome));
  return outcome.output;
}

TEST(ProgramExport, AStage1RunScoresTheSame) {
  const std::string folder = exported(world().stage1(), "exported_stage1");
  const std::vector<std::string> arguments = {"--text", "a red square", "--text", "a blue bar"};
  EXPECT_EQ(answers("match", folder, arguments), answers("match", world().stage1(), arguments));
  for (const auto& name : tensor_names(folder + "/model.safetensors")) {
    EXPECT_TRUE(name != "temperature" && !name.starts_with("itg_head.")) << name;
  }
  EXPECT_THAT(tensor_names(folder + "/stage1_heads.safetensors"), IsSupersetOf({"temperature", "itg_head.bias"}));
}

TEST(ProgramExport, AStage2RunSaysTheSameWithItsFrozenParts) {
  const std::string folder = exported(world().stage2(), "exported_stage2");
  for (const std::string prompt : {"", "a"}) {
    EXPECT_EQ(answers("caption", folder, {"--prompt", prompt}),
              answers("caption", world().stage2(), {"--prompt", prompt}));
  }
  const json config = json::parse(read_bytes(folder + "/config.json"));
  EXPECT_EQ(config["architectures"], json({"Blip2ForConditionalGeneration"}));
  EXPECT_EQ(config["image_token_index"], 3);  // "<unk>", as the vocabulary has no spare row
  EXPECT_EQ(json::parse(read_bytes(folder + "/processor_config.json"))["num_query_tokens"], 2);
  EXPECT_THAT(tensor_names(folder + "/model.safetensors"),
              IsSupersetOf({"language_model.model.decoder.embed_tokens.weight", "vision_model.post_layernorm.bias"}));
}

TEST(ProgramExport, AnExportedFolderIsExportedToTheSameBytes) {
  const std::string once = exported(published("opt_sharded_bf16"), "exported_once", {"--dtype", "bfloat16"});
  const std::string twice = exported(once, "exported_twice", {"--dtype", "bfloat16"});
  EXPECT_EQ(json::parse(read_bytes(once + "/config.json"))["dtype"], "bfloat16");
  const auto files = files_below(once);
  EXPECT_THAT(files_below(twice), testing::UnorderedElementsAreArray(files));
  for (const auto& file : files) EXPECT_EQ(read_bytes(once + "/" + file), read_bytes(twice + "/" + file)) << file;
}

TEST(ProgramExport, MistakesAreAnsweredWithOneSentence) {
  const std::string output = world().file("not_exported");
  const auto refused = [&](const std::vector<std::string>& arguments, const std::string& part) {
    EXPECT_TRUE(failed(run("export", arguments), 2, "export", part));
    EXPECT_FALSE(std::filesystem::exists(output));
  };
  refused({"--model", published("itm_tiny")}, "--output is required");
  refused({"--model", published("itm_tiny"), "--output", output, "--dtype", "int8"},
          "cannot export weights as 'int8': expected float32, bfloat16 or float16");
  refused({"--model", published("itm_tiny"), "--output", output, "--shard-size", "big"}, "big");
  refused({"--model", world().file("none"), "--output", output}, "none");
  refused({"--model", world().language_model(), "--output", output}, "has no section");
  // A folder of something else stays what it is.
  EXPECT_TRUE(failed(run("export", {"--model", published("itm_tiny"), "--output", world().file("pictures")}), 2,
                     "export", "pictures"));
  EXPECT_TRUE(std::filesystem::exists(world().picture(0)));
}

TEST(ProgramExport, OnlyAnExportedModelIsReplaced) {
  const std::string folder = exported(published("itm_tiny"), "exported_again"), model = published("itm_tiny");
  exported(published("itm_tiny"), "exported_again");
  write_bytes(folder + "/notes.txt", "of mine");
  EXPECT_TRUE(failed(run("export", {"--model", model, "--output", folder}), 2, "export",
                     "it holds 'notes.txt', which is no part of a published model"));
  EXPECT_EQ(read_bytes(folder + "/notes.txt"), "of mine");
  EXPECT_TRUE(failed(run("export", {"--model", model, "--output", world().stage1() + "/checkpoint"}), 2, "export",
                     "it holds 'train_state.safetensors'"));
  EXPECT_TRUE(failed(run("export", {"--model", model, "--output", folder + "/notes.txt"}), 2, "export",
                     "a file of that name is in the way"));
  EXPECT_TRUE(failed(run("export", {"--model", model, "--output", ""}), 2, "export", "--output: is empty"));
  EXPECT_TRUE(failed(run("export", {"--model", model, "--output", world().file("x"), "--shard-size", "-5"}), 2,
                     "export", "--shard-size"));
  exported(published("itm_tiny"), "missing/folders/above");
}

TEST(ProgramExport, WhatTheModelIsMadeOfIsNotReplaced) {
  const std::string language_model = world().language_model() + "/checkpoint";
  const std::string before = read_bytes(language_model + "/config.json");
  for (const std::string& output :
       {language_model, world().stage1() + "/checkpoint", world().stage2() + "/checkpoint"}) {
    EXPECT_TRUE(failed(run("export", {"--model", world().stage2(), "--output", output}), 2, "export",
                       "will not replace the folder '" + output + "': '" + world().stage2() + "' needs '"));
  }
  EXPECT_EQ(read_bytes(language_model + "/config.json"), before);
  const std::string folder = exported(published("itm_tiny"), "exported_onto_itself");
  EXPECT_TRUE(failed(run("export", {"--model", folder, "--output", folder + "/"}), 2, "export", "would be lost"));
}

TEST(ProgramExportInPython, OpensThemWithoutAWarningAndComputesTheSame) {
#ifdef BLIP2_PYTHON
  const std::vector<std::string> folders = {
      exported(world().stage1(), "python_stage1"), exported(world().stage2(), "python_stage2"),
      exported(published("itm_tiny"), "python_retrieval"),
      exported(published("opt_sharded_bf16"), "python_bfloat16", {"--dtype", "bfloat16", "--shard-size", "100kB"}),
      exported(published("opt_sharded_bf16"), "python_float16", {"--dtype", "float16"})};
  EXPECT_TRUE(std::filesystem::exists(folders[3] + "/model.safetensors.index.json"));
  std::string command = std::string("'") + BLIP2_PYTHON + "' '" + BLIP2_CHECK_EXPORT + "' --programs '" +
                        BLIP2_PROGRAMS + "' --picture '" + world().picture(0) + "'";
  for (const auto& folder : folders) command += " '" + folder + "'";
  const std::string log = world().file("python.log");
  EXPECT_EQ(std::system((command + " > '" + log + "' 2>&1").c_str()), 0) << read_bytes(log);
  for (const auto& folder : folders) EXPECT_THAT(read_bytes(log), HasSubstr(folder + ": Blip2For"));
#else
  GTEST_SKIP()
      << "no Python with torch and transformers was found when the build was configured: scripts/setup.sh --python";
#endif
}

}  // namespace
}  // namespace blip2
