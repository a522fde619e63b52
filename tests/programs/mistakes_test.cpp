// What a user gets wrong: every mistake is answered with one sentence and exit code 2, and costs nothing that was
// there.
#include <gmock/gmock.h>

#include "programs/tiny_world.h"

namespace blip2 {
namespace {

using nlohmann::json;
using testing::HasSubstr;

TinyWorld& world() {
  return TinyWorld::instance();
}

/** Stage 1 with a config that cannot work. */
testing::AssertionResult stage1_refuses(const json& config, const std::string& part,
                                        const std::vector<std::string>& overrides = {}) {
  const std::string output = world().file("refused");
  const auto result =
      failed(run("train_stage1", world().arguments(config, output, overrides)), 2, "train_stage1", part);
  if (result && std::filesystem::exists(output + "/checkpoint")) {
    return testing::AssertionFailure() << "a checkpoint was written";
  }
  std::filesystem::remove_all(output);
  return result;
}

TEST(ProgramMistakes, ArgumentsAreAnsweredWithOneSentence) {
  EXPECT_TRUE(failed(run("train_stage1", {}), 2, "train_stage1", "--config is required"));
  EXPECT_TRUE(failed(run("caption", {"--model", "m"}), 2, "caption", "pictures is required"));
  EXPECT_TRUE(failed(run("match", {"--model", "m", "p.png"}), 2, "match", "--text is required"));
  EXPECT_TRUE(failed(run("build_vocabulary", {"--size", "many"}), 2, "build_vocabulary", "many"));
  EXPECT_TRUE(failed(run("prepare_demo", {"--threads", "0"}), 2, "prepare_demo", "--threads"));
  EXPECT_TRUE(failed(run("evaluate_demo", {}), 2, "evaluate_demo", "required"));
  EXPECT_TRUE(failed(run("train_stage2", {"--confg", "c.json"}), 2, "train_stage2", "--config is required"));
}

TEST(ProgramMistakes, AnUnknownKeyIsAnsweredWithTheNearest) {
  world().vocabulary();
  json config = world().stage1_config();
  EXPECT_TRUE(stage1_refuses(config, "unknown key 'train.step', did you mean 'train.steps'?", {"train.step=3"}));
  EXPECT_TRUE(stage1_refuses(config, "'data.batch_sise', did you mean 'data.batch_size'?", {"data.batch_sise=3"}));
  config["visoin"] = json::object();
  EXPECT_TRUE(stage1_refuses(config, "did you mean 'vision'?"));
}

TEST(ProgramMistakes, AValueOfTheWrongKindNamesItsKey) {
  world().vocabulary();
  const json config = world().stage1_config();
  EXPECT_TRUE(stage1_refuses(config, "'train.steps' must be an integer, found \"many\"", {"train.steps=many"}));
  EXPECT_TRUE(stage1_refuses(config, "override 'train.steps': key and value must be UTF-8", {"train.steps=\xff\xfe"}));
  EXPECT_TRUE(stage1_refuses(config, "'steps' must be at least 1", {"train.steps=0"}));
  EXPECT_TRUE(stage1_refuses(config, "train.steps", {"train.steps=1e30"}));
  EXPECT_TRUE(stage1_refuses(config, "'batch_size' is 400, but the data set has only 12", {"data.batch_size=400"}));
  EXPECT_TRUE(stage1_refuses(config, "make them equal", {"data.transform.image_size=24"}));
  EXPECT_TRUE(stage1_refuses(config, "not of the form", {"train.steps"}));
  EXPECT_TRUE(stage1_refuses(config, "num_attention_heads", {"model.qformer_config.num_attention_heads=3"}));
  EXPECT_TRUE(stage1_refuses(config, "hidden_size", {"model.vision_config.hidden_size=-16"}));
  EXPECT_TRUE(stage1_refuses(config, "at least one patch of 0", {"model.vision_config.patch_size=0"}));
  EXPECT_TRUE(stage1_refuses(config, "max_length", {"text.max_length=0"}));
  EXPECT_TRUE(stage1_refuses(config, "max_length", {"text.max_length=400"}));
  EXPECT_TRUE(stage1_refuses(config, "max_length 1 leaves no room", {"text.max_length=1"}));
}

TEST(ProgramMistakes, AConfigThatCannotBeReadIsNamed) {
  const auto with = [](const std::string& config) {
    return run("train_stage1", {"--config", config, "--output", world().file("refused")});
  };
  EXPECT_TRUE(failed(with(world().file("none.json")), 2, "train_stage1", "none.json': no such file"));
  EXPECT_TRUE(failed(with(world().path().string()), 2, "train_stage1", "is a folder, not a file"));
  write_bytes(world().file("broken.json"), "{\"train\": {\"steps\": 3,}\n");
  EXPECT_TRUE(failed(with(world().file("broken.json")), 2, "train_stage1", "broken.json' is not JSON"));
  write_bytes(world().file("broken.json"), "[1, 2]");
  EXPECT_TRUE(failed(with(world().file("broken.json")), 2, "train_stage1", "must hold a JSON object"));
  write_bytes(world().file("broken.json"), "");
  EXPECT_TRUE(failed(with(world().file("broken.json")), 2, "train_stage1", "broken.json' is not JSON"));
  EXPECT_FALSE(std::filesystem::exists(world().file("refused")));
}

TEST(ProgramMistakes, MissingFilesAreNamed) {
  world().vocabulary();
  json config = world().stage1_config();
  config["data"]["train"] = {world().file("nowhere.json")};
  EXPECT_TRUE(stage1_refuses(config, "nowhere.json"));
  config["data"]["train"] = json::array();
  EXPECT_TRUE(stage1_refuses(config, "data.train names no annotation file"));
  config = world().stage1_config();
  EXPECT_TRUE(stage1_refuses(config, "no tokenizer in", {"text.tokenizer=" + world().file("pictures")}));
  EXPECT_TRUE(stage1_refuses(config, "text.tokenizer names no folder", {"text.tokenizer="}));
  EXPECT_TRUE(stage1_refuses(config, "is no WordPiece vocabulary",
                             {"text.tokenizer=" + world().language_model() + "/tokenizer"}));
  EXPECT_TRUE(stage1_refuses(config, "a random image encoder must not be frozen", {"vision.frozen=true"}));
  EXPECT_TRUE(
      stage1_refuses(config, "does not exist", {"vision.frozen=true", "vision.weights=" + world().file("gone")}));
  config = world().language_model_config();
  config["text"]["file"] = world().file("gone.txt");
  EXPECT_TRUE(failed(run("train_language_model", world().arguments(config, world().file("refused"))), 2,
                     "train_language_model", "gone.txt"));
  EXPECT_TRUE(failed(run("build_vocabulary", {"--text", world().file("gone.txt"), "--output", world().file("refused")}),
                     2, "build_vocabulary", "gone.txt"));
  EXPECT_TRUE(failed(run("build_vocabulary",
                         {"--text", world().file("captions.txt"), "--output", world().file("refused"), "--size", "-3"}),
                     2, "build_vocabulary", "got -3"));
}

TEST(ProgramMistakes, StageTwoNamesWhatItLacks) {
  const auto refuses = [](const std::string& override, const std::string& part) {
    const auto arguments = world().arguments(world().stage2_config(), world().file("refused"), {override});
    return failed(run("train_stage2", arguments), 2, "train_stage2", part);
  };
  EXPECT_TRUE(refuses("stage1=", "stage1 names no folder"));
  EXPECT_TRUE(refuses("language_model=", "language_model names no folder"));
  EXPECT_TRUE(refuses("stage1=" + world().file("gone"), "it does not exist"));
  EXPECT_TRUE(refuses("stage1=" + world().language_model(), "has no section 'model'"));
  EXPECT_TRUE(refuses("language_model=" + world().stage1(), "has no section 'text_config'"));
  EXPECT_TRUE(refuses("text.max_length=0", "text.max_length must be at least 1"));
  EXPECT_TRUE(refuses("text.max_length=47", "exceed the language model's 48 positions"));
  EXPECT_TRUE(refuses("text.tokenizer=" + world().vocabulary(),
                      "but stage 2 reads captions with the language model's own; leave text.tokenizer empty"));
  EXPECT_TRUE(refuses("text.max_length=1",
                      "text.max_length 1 leaves no room for a caption behind the 1 tokens of its beginning and "
                      "text.prompt; raise it or shorten the prompt"));
  EXPECT_TRUE(refuses("text.prompt=longer than any of the captions that were ever written",
                      "text.max_length 12 leaves no room for a caption behind the "));
  EXPECT_TRUE(refuses("train.precision=fp16", "unknown precision 'fp16', expected float32, bfloat16 or float16"));
}

TEST(ProgramMistakes, BadTrainingOptionsAreFoundBeforeAnythingIsLoaded) {
  const auto arguments = world().arguments(world().stage1_config(), world().file("refused"),
                                           {"train.precision=half", "data.feature_cache=" + world().file("no_cache")});
  EXPECT_TRUE(failed(run("train_stage1", arguments), 2, "train_stage1", "unknown precision 'half'"));
  EXPECT_FALSE(std::filesystem::exists(world().file("no_cache")));
}

TEST(ProgramMistakes, TheBeginningIsTrainedOnWithoutAPromptAlone) {
  const auto arguments = world().arguments(world().stage2_config(), world().file("refused"),
                                           {"text.prompt=a", "loss.train_on_beginning=true"});
  EXPECT_TRUE(failed(run("train_stage2", arguments), 2, "train_stage2",
                     "the beginning token of a text.prompt is not trained on, in LAVIS neither; set it to false"));
}

TEST(ProgramMistakes, WhatAnEncoderDecoderCannotDoIsRefused) {
  const std::filesystem::path data = BLIP2_TEST_DATA, model = world().file("t5");
  std::filesystem::copy(data / "lm/t5_relu_tied", model, std::filesystem::copy_options::recursive);
  std::filesystem::copy(data / "text/t5", model, std::filesystem::copy_options::recursive);
  const auto refuses = [&](const std::string& override, const std::string& part) {
    const auto arguments = world().arguments(world().stage2_config(), world().file("refused"),
                                             {"language_model=" + model.string(), override});
    return failed(run("train_stage2", arguments), 2, "train_stage2", part);
  };
  EXPECT_TRUE(refuses("loss.train_on_beginning=true",
                      "loss.train_on_beginning is true, but an encoder-decoder's answers have no beginning token"));
  EXPECT_TRUE(refuses("train.precision=float16", "float16, in which T5 overflows; choose bfloat16 or float32"));
  EXPECT_TRUE(refuses("text.prompt=longer than any of the captions that were ever written",
                      "tokens of text.prompt; raise it or shorten the prompt"));
  EXPECT_FALSE(std::filesystem::exists(world().file("refused")));
}

TEST(ProgramMistakes, TextFilesWithoutTextAreRefused) {
  write_bytes(world().file("empty.txt"), "");
  const std::string file = world().file("empty.txt"), folder = world().path().string();
  for (const auto& [text, reason] :
       {std::pair(file, "holds no text"), std::pair(folder, "it is a folder, not a file")}) {
    EXPECT_TRUE(failed(run("build_vocabulary", {"--text", text, "--output", world().file("refused")}), 2,
                       "build_vocabulary", reason));
    EXPECT_TRUE(failed(run("train_language_model", world().arguments(world().language_model_config(),
                                                                     world().file("refused"), {"text.file=" + text})),
                       2, "train_language_model", reason));
  }
  EXPECT_FALSE(std::filesystem::exists(world().file("refused")));
}

TEST(ProgramMistakes, DamagedPicturesAreSkippedNamedOnceAndCounted) {
  world().vocabulary();
  const std::string good = read_bytes(world().picture(0));
  json annotations = json::parse(read_bytes(world().file("annotations.json")));
  write_bytes(world().file("pictures/empty.bmp"), "");
  write_bytes(world().file("pictures/cut.bmp"), good.substr(0, 300));
  write_bytes(world().file("pictures/text.bmp"), "this is no picture");
  for (const char* name : {"empty", "cut", "text", "missing"}) {
    annotations.push_back({{"image", "pictures/" + std::string(name) + ".bmp"}, {"caption", "a red square"}});
  }
  write_bytes(world().file("damaged.json"), annotations.dump());
  json config = world().stage1_config();
  config["data"]["train"] = {world().file("damaged.json")};
  config["data"]["validation"] = world().file("damaged.json");
  const std::string output = world().file("damaged");
  const Outcome outcome = run("train_stage1", world().arguments(config, output, {"train.validate_every=6"}));
  ASSERT_TRUE(succeeded(outcome));
  for (const char* name : {"empty.bmp", "cut.bmp", "text.bmp", "missing.bmp"}) {
    int named = 0;
    for (const auto& line : lines_of(outcome.error)) {
      named += line.starts_with("skipped") && line.find(name) != std::string::npos ? 1 : 0;
    }
    EXPECT_GE(named, 1) << name << "\n" << outcome.error;
    EXPECT_LE(named, 2) << name << "\n" << outcome.error;  // once in training, once in validation
  }
  EXPECT_THAT(outcome.error, HasSubstr("4 samples could not be read"));
  EXPECT_EQ(timeless_log(output).size(), 12u);
}

TEST(ProgramMistakes, ADataSetWithoutOneReadablePictureIsRefused) {
  world().vocabulary();
  json annotations = json::array();
  for (int i = 0; i < 6; ++i) annotations.push_back({{"image", "gone.bmp"}, {"caption", "a red square"}});
  write_bytes(world().file("all_damaged.json"), annotations.dump());
  json config = world().stage1_config();
  config["data"]["train"] = {world().file("all_damaged.json")};
  const std::string output = world().file("all_damaged");
  const Outcome outcome = run("train_stage1", world().arguments(config, output));
  EXPECT_TRUE(failed_in_the_end(outcome, 2, "train_stage1", "none of the 6 samples can be read"));
  config["data"]["train"] = {world().file("annotations.json")};
  config["data"]["validation"] = world().file("all_damaged.json");
  const Outcome validated = run(
      "train_stage1", world().arguments(config, world().file("all_damaged_validation"), {"train.validate_every=4"}));
  EXPECT_TRUE(failed_in_the_end(validated, 2, "train_stage1", "none of the 6 samples can be read"));
}

TEST(ProgramMistakes, CaptionPrintsTheGoodOnesAndNamesTheMissing) {
  const Outcome outcome =
      run("caption", {"--model", world().stage2(), world().picture(0), "gone.png", world().picture(1)});
  EXPECT_TRUE(failed(outcome, 2, "caption", "cannot open 'gone.png'"));
  EXPECT_EQ(lines_of(outcome.output).size(), 2u) << outcome.output;
  EXPECT_TRUE(
      failed(run("caption", {"--model", world().stage2(), "gone.png"}), 2, "caption", "cannot open 'gone.png'"));
  const Outcome none = run("caption", {"--model", world().stage2(), "gone.png", "lost.png"});
  EXPECT_EQ(none.exit_code, 2);
  EXPECT_THAT(none.error, HasSubstr("caption: none of the pictures could be read"));
}

TEST(ProgramMistakes, CaptionRefusesOptionsOutOfRange) {
  const auto refuses = [](const std::string& option, const std::string& value, const std::string& part) {
    return failed(run("caption", {"--model", world().stage2(), option, value, world().picture(0)}), 2, "caption", part);
  };
  EXPECT_TRUE(refuses("--beams", "0", "num_beams"));
  EXPECT_TRUE(refuses("--captions", "9", "num_return_sequences"));
  EXPECT_TRUE(refuses("--max-new-tokens", "0", "max_new_tokens"));
  EXPECT_TRUE(refuses("--max-new-tokens", "100000", "max_new_tokens"));
  EXPECT_TRUE(refuses("--temperature", "0", "temperature"));
  EXPECT_TRUE(refuses("--repetition-penalty", "-1", "repetition_penalty"));
  EXPECT_TRUE(refuses("--beams", "many", "many"));
  EXPECT_TRUE(
      failed(run("match", {"--model", world().stage2(), "--text", "a", world().picture(0)}), 2, "match", "model"));
  EXPECT_TRUE(
      failed(run("match", {"--model", world().file("gone"), "--text", "a", world().picture(0)}), 2, "match", "gone"));
}

TEST(ProgramMistakes, TextThatIsNotUnicodeHarmsNobody) {
  const std::string odd = world().file("pictures/\xff.bmp");
  write_bytes(odd, read_bytes(world().picture(0)));
  const Outcome outcome = run("match", {"--model", world().stage1(), "--text", "a \xff square", "--json", odd});
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_TRUE(json::parse(outcome.output).contains("match_probability"));
  EXPECT_TRUE(succeeded(run("caption", {"--model", world().stage2(), "--prompt", "\xff", "--json", odd})));
}

TEST(ProgramMistakes, AnExistingRunIsNotStartedAfreshByAccident) {
  world().stage1();
  const std::string run_folder = world().file("precious");
  std::filesystem::copy(world().stage1(), run_folder, std::filesystem::copy_options::recursive);
  const std::string model = read_bytes(run_folder + "/checkpoint/model.safetensors");
  const std::string vocabulary = read_bytes(run_folder + "/tokenizer/vocab.txt");
  write_bytes(world().file("more.txt"), "some quite different words\nfor another vocabulary\n");
  ASSERT_TRUE(succeeded(
      run("build_vocabulary", {"--text", world().file("more.txt"), "--output", world().file("other_vocabulary")})));
  json config = world().stage1_config();
  config["text"]["tokenizer"] = world().file("other_vocabulary");
  EXPECT_TRUE(failed(run("train_stage1", world().arguments(config, run_folder, {"--fresh"})), 2, "train_stage1",
                     "already holds a run"));
  EXPECT_EQ(read_bytes(run_folder + "/tokenizer/vocab.txt"), vocabulary);
  EXPECT_TRUE(
      failed(run("train_stage1", world().arguments(config, run_folder)), 2, "train_stage1", "'text.tokenizer' was"));
  config = world().stage1_config();
  const Outcome changed = run("train_stage1", world().arguments(config, run_folder, {"train.learning_rate=0.5"}));
  EXPECT_TRUE(failed(changed, 2, "train_stage1", "'train.learning_rate' was 0.001 and is now 0.5"));
  EXPECT_TRUE(read_bytes(run_folder + "/checkpoint/model.safetensors") == model);
  EXPECT_EQ(read_bytes(run_folder + "/tokenizer/vocab.txt"), vocabulary);
  EXPECT_EQ(timeless_log(run_folder), timeless_log(world().stage1()));
  const Outcome again = run("train_stage1", world().arguments(config, run_folder));
  EXPECT_TRUE(succeeded(again));
  EXPECT_TRUE(read_bytes(run_folder + "/checkpoint/model.safetensors") == model);
  EXPECT_TRUE(succeeded(run("train_stage1", world().arguments(config, run_folder, {"--fresh", "--overwrite"}))));
  EXPECT_TRUE(read_bytes(run_folder + "/checkpoint/model.safetensors") == model);
}

TEST(ProgramMistakes, AVocabularyThatChangedUnderARunIsRefused) {
  const std::string vocabulary = world().file("changing_vocabulary"), output = world().file("changed_vocabulary");
  std::filesystem::copy(world().vocabulary(), vocabulary, std::filesystem::copy_options::recursive);
  json config = world().stage1_config();
  config["text"]["tokenizer"] = vocabulary;
  ASSERT_TRUE(succeeded(run("train_stage1", world().arguments(config, output))));
  const std::string kept = read_bytes(output + "/tokenizer/vocab.txt");
  auto words = lines_of(kept);
  std::swap(words[words.size() - 1], words[words.size() - 2]);
  std::string swapped;
  for (const auto& word : words) swapped += word + "\n";
  write_bytes(vocabulary + "/vocab.txt", swapped);
  EXPECT_TRUE(failed_in_the_end(run("train_stage1", world().arguments(config, output)), 2, "train_stage1",
                                "the run in '" + output + "' was trained with another vocabulary than '" + vocabulary +
                                    "' gives now: restore that to resume it"));
  EXPECT_EQ(read_bytes(output + "/tokenizer/vocab.txt"), kept);
  write_bytes(output + "/tokenizer/stale.txt", "x");
  EXPECT_TRUE(succeeded(run("train_stage1", world().arguments(config, output, {"--fresh", "--overwrite"}))));
  EXPECT_EQ(read_bytes(output + "/tokenizer/vocab.txt"), swapped);
  EXPECT_FALSE(std::filesystem::exists(output + "/tokenizer/stale.txt"));
  std::filesystem::remove_all(output + "/tokenizer");
  EXPECT_TRUE(succeeded(run("train_stage1", world().arguments(config, output))));
  EXPECT_EQ(read_bytes(output + "/tokenizer/vocab.txt"), swapped);
}

TEST(ProgramMistakes, AByteBpeOfOtherTextIsRefused) {
  const std::string text = world().file("changing.txt"), output = world().file("changed_text");
  write_bytes(text, read_bytes(world().file("captions.txt")));
  json config = world().language_model_config();
  config["text"]["file"] = text;
  config["text"]["vocabulary_size"] = 270;
  const auto arguments = world().arguments(config, output);
  ASSERT_TRUE(succeeded(run("train_language_model", arguments)));
  const std::string kept = read_bytes(output + "/tokenizer/vocab.json");
  std::string other;
  for (int i = 0; i < 12; ++i) other += "the quick brown fox jumps over two lazy dogs\n";
  write_bytes(text, other);
  EXPECT_TRUE(failed_in_the_end(run("train_language_model", arguments), 2, "train_language_model",
                                "was trained with another vocabulary than '" + text + "' gives now"));
  EXPECT_EQ(read_bytes(output + "/tokenizer/vocab.json"), kept);
}

TEST(ProgramMistakes, PicturesWithoutObjectsCannotBeExamined) {
  const std::vector<std::string> arguments = {
      "--stage1",         world().stage1(),           "--stage2",      world().stage2(),
      "--language-model", world().language_model(),   "--annotations", world().file("annotations.json"),
      "--report",         world().file("report.html")};
  EXPECT_TRUE(failed(run("evaluate_demo", arguments), 2, "evaluate_demo",
                     "annotations.json': the picture '" + world().picture(0) + "' has no \"objects\""));
  EXPECT_FALSE(std::filesystem::exists(world().file("report.html")));
}

TEST(ProgramMistakes, DamagedWeightsAreRefused) {
  const std::string copy = world().file("damaged_stage1");
  std::filesystem::copy(world().stage1(), copy, std::filesystem::copy_options::recursive);
  const std::string model = copy + "/checkpoint/model.safetensors";
  const std::string bytes = read_bytes(model);
  json config = world().stage2_config();
  config["stage1"] = copy;
  const auto refuses = [&](const std::string& part) {
    return failed(run("train_stage2", world().arguments(config, world().file("refused"))), 2, "train_stage2", part);
  };
  write_bytes(model, bytes.substr(0, bytes.size() / 2));
  EXPECT_TRUE(refuses("model.safetensors"));
  EXPECT_TRUE(
      failed(run("match", {"--model", copy, "--text", "a", world().picture(0)}), 2, "match", "model.safetensors"));
  EXPECT_TRUE(failed(run("train_stage1", world().arguments(world().stage1_config(), copy)), 2, "train_stage1",
                     "model.safetensors"));
  write_bytes(model, "");
  EXPECT_TRUE(refuses("model.safetensors"));
  write_bytes(model, bytes);
  const std::string state = copy + "/checkpoint/train_state.safetensors";
  write_bytes(state, read_bytes(state).substr(0, 100));
  EXPECT_TRUE(failed(run("train_stage1", world().arguments(world().stage1_config(), copy)), 2, "train_stage1",
                     "train_state.safetensors"));
  json stored = json::parse(read_bytes(copy + "/checkpoint/config.json"));
  stored["model"]["qformer_config"]["hidden_size"] = 32;
  write_bytes(copy + "/checkpoint/config.json", stored.dump());
  EXPECT_TRUE(refuses("do not fit the model"));
  std::filesystem::remove_all(copy + "/checkpoint");
  EXPECT_TRUE(refuses("holds none of model.safetensors"));
}

TEST(ProgramMistakes, AFrozenPartThatIsGoneOrChangedIsNamed) {
  const std::string copy = world().file("lent_language_model");
  std::filesystem::copy(world().language_model(), copy, std::filesystem::copy_options::recursive);
  json config = world().stage2_config();
  config["language_model"] = copy;
  const std::string output = world().file("borrower");
  ASSERT_TRUE(succeeded(run("train_stage2", world().arguments(config, output))));
  const std::string model = copy + "/checkpoint/model.safetensors";
  std::string bytes = read_bytes(model);
  bytes[bytes.size() - 2] = static_cast<char>(bytes[bytes.size() - 2] ^ 0x40);
  write_bytes(model, bytes);
  EXPECT_TRUE(failed(run("caption", {"--model", output, world().picture(0)}), 2, "caption", "have changed since"));
  std::filesystem::remove_all(copy);
  EXPECT_TRUE(failed(run("caption", {"--model", output, world().picture(0)}), 2, "caption", "which is gone"));
  EXPECT_TRUE(failed(run("train_stage2", world().arguments(config, output)), 2, "train_stage2", "does not exist"));
}

}  // namespace
}  // namespace blip2
