// What the programs do when all is well: the whole way from text to captions, and what a checkpoint holds.
#include <gmock/gmock.h>

#include <cmath>

#include "programs/tiny_world.h"

namespace blip2 {
namespace {

using nlohmann::json;
using testing::Contains;
using testing::Each;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

TinyWorld& world() {
  return TinyWorld::instance();
}

TEST(ProgramChain, CaptionPrintsOneLinePerPicture) {
  const Outcome outcome = run("caption", {"--model", world().stage2(), world().picture(0), world().picture(7)});
  ASSERT_TRUE(succeeded(outcome));
  const auto lines = lines_of(outcome.output);
  ASSERT_EQ(lines.size(), 2u) << outcome.output;
  EXPECT_THAT(lines[0], StartsWith(world().picture(0) + ": "));
  EXPECT_THAT(lines[1], StartsWith(world().picture(7) + ": "));
}

TEST(ProgramChain, CaptionPrintsJsonAndTheAskedNumber) {
  const Outcome outcome =
      run("caption", {"--model", world().stage2(), world().picture(3), "--json", "--captions", "2", "--prompt", "a"});
  ASSERT_TRUE(succeeded(outcome));
  const auto lines = lines_of(outcome.output);
  ASSERT_EQ(lines.size(), 2u) << outcome.output;
  for (const auto& line : lines) {
    const json caption = json::parse(line);
    EXPECT_EQ(caption.at("picture"), world().picture(3));
    EXPECT_TRUE(caption.at("caption").is_string());
    EXPECT_EQ(caption.at("token_ids").size(), caption.at("token_log_probabilities").size());
    EXPECT_LE(caption.at("score").get<double>(), 0);
  }
}

TEST(ProgramChain, AnEncoderDecoderReadsThePromptAndWritesTheCaption) {
  const std::filesystem::path data = BLIP2_TEST_DATA, model = world().file("prompted_t5");
  std::filesystem::copy(data / "lm/t5_relu_tied", model, std::filesystem::copy_options::recursive);
  std::filesystem::copy(data / "text/t5", model, std::filesystem::copy_options::recursive);
  const std::string output = world().file("prompted");
  ASSERT_TRUE(succeeded(run(
      "train_stage2",
      world().arguments(world().stage2_config(), output,
                        {"language_model=" + model.string(), "text.prompt=a photo of", "train.steps=2",
                         "train.record_steps=1", "train.precision=bfloat16", "train.activation_checkpointing=true"}))));
  const std::string batch = output + "/recorded/step-1.safetensors";
  const auto ids = tensor_integers(batch, "input_ids"), mask = tensor_integers(batch, "attention_mask");
  EXPECT_THAT(mask, Each(1));  // every row reads the same prompt
  const auto labels = tensor_integers(batch, "labels");
  EXPECT_EQ(ids.size() % 4, 0u);
  for (std::size_t i = 0; i < ids.size(); ++i) EXPECT_EQ(ids[i], ids[i % (ids.size() / 4)]);
  EXPECT_NE(std::vector(labels.begin(), labels.begin() + static_cast<std::ptrdiff_t>(labels.size() / 4)),
            std::vector(labels.end() - static_cast<std::ptrdiff_t>(labels.size() / 4), labels.end()));
  EXPECT_TRUE(succeeded(run("caption", {"--model", output, "--prompt", "a photo of", world().picture(0)})));
}

TEST(ProgramChain, MatchPrintsProbabilityAndSimilarityOfEveryPair) {
  const Outcome outcome = run("match", {"--model", world().stage1(), "--text", "a red square", "--text", "a blue bar",
                                        "--json", world().picture(0), world().picture(1)});
  ASSERT_TRUE(succeeded(outcome));
  const auto lines = lines_of(outcome.output);
  ASSERT_EQ(lines.size(), 4u) << outcome.output;
  for (const auto& line : lines) {
    const json pair = json::parse(line);
    EXPECT_GE(pair.at("match_probability").get<double>(), 0);
    EXPECT_LE(pair.at("match_probability").get<double>(), 1);
    EXPECT_LE(std::abs(pair.at("similarity").get<double>()), 1.0001);
  }
  EXPECT_EQ(json::parse(lines[1]).at("text"), "a blue bar");
  EXPECT_EQ(json::parse(lines[2]).at("picture"), world().picture(1));
}

TEST(ProgramChain, MatchTakesOneTextPerOptionAndTheRestForPictures) {
  const Outcome outcome =
      run("match", {"--model", world().stage1(), "--text", "a red square", world().picture(0), world().picture(1)});
  ASSERT_TRUE(succeeded(outcome));
  const auto lines = lines_of(outcome.output);
  ASSERT_EQ(lines.size(), 2u) << outcome.output;
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(lines[static_cast<std::size_t>(i)], StartsWith(world().picture(i) + ": match "));
    EXPECT_THAT(lines[static_cast<std::size_t>(i)], HasSubstr(": a red square"));
  }
  const Outcome two = run("match", {"--model", world().stage1(), "--text", "a red square", "--text", "[a, b]",
                                    world().picture(0), world().picture(1)});
  ASSERT_TRUE(succeeded(two));
  EXPECT_EQ(lines_of(two.output).size(), 4u) << two.output;
}

TEST(ProgramChain, TheLogHoldsEveryStep) {
  const auto log = timeless_log(world().stage2());
  ASSERT_EQ(log.size(), 12u);
  for (std::size_t i = 0; i < log.size(); ++i) EXPECT_EQ(json::parse(log[i]).at("step"), i + 1);
}

TEST(ProgramChain, HalfPrecisionLearnsAndIsValidated) {
  world().vocabulary();
  const std::string output = world().file("half");
  const auto arguments = world().arguments(world().stage1_config(), output,
                                           {"train.precision=bfloat16", "train.steps=2", "train.validate_every=1",
                                            "data.validation=" + world().file("annotations.json")});
  ASSERT_TRUE(succeeded(run("train_stage1", arguments)));
  for (const auto& line : timeless_log(output)) {
    const json step = json::parse(line);
    EXPECT_TRUE(step.at("loss").is_number()) << line;
    EXPECT_TRUE(step.at("validation").at("image_to_text_recall_at_1").is_number()) << line;
  }
  EXPECT_TRUE(succeeded(run("match", {"--model", output, "--text", "a", world().picture(0)})));
}

TEST(ProgramChain, TheSameSeedGivesTheSameFiles) {
  world().vocabulary();
  json config = world().stage1_config();
  const std::string other = world().file("same_seed");
  ASSERT_TRUE(succeeded(run("train_stage1", world().arguments(config, other))));
  for (const char* name : {"checkpoint/model.safetensors", "checkpoint/train_state.safetensors",
                           "checkpoint/config.json", "tokenizer/vocab.txt"}) {
    EXPECT_TRUE(read_bytes(std::filesystem::path(world().stage1()) / name) ==
                read_bytes(std::filesystem::path(other) / name))
        << name;
  }
  EXPECT_EQ(timeless_log(world().stage1()), timeless_log(other));
  EXPECT_THAT(files_below(other), Each(Not(HasSubstr("partial"))));
}

TEST(ProgramChain, NumberOfWorkersDoesNotChangeTheResult) {
  world().vocabulary();
  const std::string other = world().file("workers");
  ASSERT_TRUE(succeeded(
      run("train_stage1", world().arguments(world().stage1_config(), other, {"data.workers=3", "train.log_every=1"}))));
  EXPECT_TRUE(read_bytes(world().stage1() + "/checkpoint/model.safetensors") ==
              read_bytes(other + "/checkpoint/model.safetensors"));
}

TEST(ProgramChain, AFrozenTowerIsNotInTheCheckpointAndStageTwoFindsIt) {
  json config = world().stage1_config();
  const std::string tower = world().file("tower");
  std::filesystem::copy(world().stage1(), tower, std::filesystem::copy_options::recursive);
  config["vision"] = {{"frozen", true}, {"weights", tower}};
  const std::string frozen = world().file("frozen");
  ASSERT_TRUE(succeeded(run("train_stage1", world().arguments(config, frozen))));
  const auto names = tensor_names(frozen + "/checkpoint/model.safetensors");
  EXPECT_THAT(names, Each(Not(HasSubstr("vision_model.encoder."))));
  EXPECT_THAT(names, Each(Not(HasSubstr("vision_model.embeddings."))));
  EXPECT_THAT(names, Contains("vision_model.post_layernorm.weight"));
  EXPECT_THAT(names, Contains("query_tokens"));
  const std::vector<std::string> match = {"--model", frozen, "--text", "a red bar", world().picture(0)};
  EXPECT_TRUE(succeeded(run("match", match)));

  json stage2 = world().stage2_config();
  stage2["stage1"] = frozen;
  const std::string output = world().file("stage2_on_frozen");
  ASSERT_TRUE(succeeded(run("train_stage2", world().arguments(stage2, output))));
  EXPECT_TRUE(succeeded(run("caption", {"--model", output, world().picture(0)})));

  std::filesystem::remove_all(tower);
  EXPECT_TRUE(failed(run("match", match), 2, "match", "which is gone"));
  std::filesystem::copy(world().language_model(), tower, std::filesystem::copy_options::recursive);
  EXPECT_TRUE(failed(run("match", match), 2, "match", "have changed since"));
}

TEST(ProgramChain, StageTwoSavesWhatItTrainsAndNothingElse) {
  const auto names = tensor_names(world().stage2() + "/checkpoint/model.safetensors");
  EXPECT_THAT(names, Each(Not(HasSubstr("language_model."))));
  EXPECT_THAT(names, Each(Not(HasSubstr("vision_model.encoder."))));
  EXPECT_THAT(names, Contains("language_projection.weight"));
  EXPECT_THAT(names, Contains("query_tokens"));
}

TEST(ProgramChain, TheProjectionStartsAtTheDeviationThatIsAskedFor) {
  auto largest = [&](const std::string& run_name, const std::string& tensor, const std::string& projection_std) {
    const std::string output = world().file(run_name);
    EXPECT_TRUE(succeeded(
        run("train_stage2", world().arguments(world().stage2_config(), output,
                                              {"train.steps=1", "train.learning_rate=0", "train.min_learning_rate=0",
                                               "initialization.projection_std=" + projection_std}))));
    float result = 0;
    for (const float value : tensor_values(output + "/checkpoint/model.safetensors", tensor)) {
      result = std::max(result, std::abs(value));
    }
    return result;
  };
  const float small = largest("projection_small", "language_projection.weight", "0.001");
  EXPECT_GT(small, 0.001F);
  EXPECT_LT(small, 0.006F);
  EXPECT_EQ(largest("projection_small", "language_projection.bias", "0.001"), 0.0F);
  EXPECT_GT(largest("projection_usual", "language_projection.weight", "0"), 0.1F);
  EXPECT_GT(largest("projection_usual", "language_projection.bias", "0"), 0.02F);
}

TEST(ProgramChain, HelpIsNoFailure) {
  for (const char* name : {"build_vocabulary", "caption", "evaluate_demo", "features", "match", "prepare_demo", "trace",
                           "train_language_model", "train_stage1", "train_stage2"}) {
    const Outcome outcome = run(name, {"--help"});
    EXPECT_TRUE(succeeded(outcome)) << name;
    EXPECT_THAT(outcome.output, HasSubstr("Usage:"));
    EXPECT_EQ(outcome.error, "");
  }
}

}  // namespace
}  // namespace blip2
