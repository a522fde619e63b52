// Programs on published folders and reference cases, and what caption can be asked besides captions.
#include <gmock/gmock.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "programs/run_program.h"
#include "programs/tiny_world.h"

namespace blip2 {
namespace {

using nlohmann::json;
using testing::HasSubstr;

TinyWorld& world() {
  return TinyWorld::instance();
}

std::string reference_case(const std::string& name) {
  return std::string(BLIP2_TEST_DATA) + "/cases/" + name;
}

TEST(ProgramInference, CaptionReadsAPublishedFolder) {
  const Outcome outcome =
      run("caption", {"--model", reference_case("opt_sharded_bf16") + "/model", "--json", world().picture(0)});
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_FALSE(json::parse(outcome.output).at("token_ids").empty());
}

TEST(ProgramInference, MatchReadsAPublishedFolder) {
  const Outcome outcome = run("match", {"--model", reference_case("itm_tiny") + "/model", "--text", "a small red bus",
                                        "--json", world().picture(0)});
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_GT(json::parse(outcome.output).at("match_probability").get<double>(), 0);
}

TEST(ProgramInference, CaptionRanksGivenAnswers) {
  const std::string answers = world().file("answers.txt");
  write_bytes(answers, "a red square\n\n  a blue bar \n");
  const Outcome outcome =
      run("caption", {"--model", world().stage2(), "--answers", answers, "--json", world().picture(0)});
  ASSERT_TRUE(succeeded(outcome));
  const auto lines = lines_of(outcome.output);
  ASSERT_EQ(lines.size(), 2u) << outcome.output;
  const json first = json::parse(lines[0]), second = json::parse(lines[1]);
  EXPECT_GE(first.at("log_probability").get<double>(), second.at("log_probability").get<double>());
  EXPECT_THAT((std::vector<std::string>{first.at("answer"), second.at("answer")}),
              testing::UnorderedElementsAre("a red square", "a blue bar"));
  EXPECT_EQ(first.at("token_ids").size(), first.at("token_log_probabilities").size());

  write_bytes(answers, "\n \n");
  EXPECT_TRUE(failed(run("caption", {"--model", world().stage2(), "--answers", answers, world().picture(0)}), 2,
                     "caption", "answers.txt' holds no answers, expected one a line"));
  EXPECT_TRUE(failed(run("caption", {"--model", world().stage2(), "--mean", world().picture(0)}), 2, "caption",
                     "--mean requires --answers"));
  EXPECT_TRUE(
      failed(run("caption", {"--model", world().stage2(), "--answers", answers, "--captions", "2", world().picture(0)}),
             2, "caption", "--captions excludes --answers"));
  EXPECT_TRUE(failed(run("caption", {"--model", world().stage2(), "--answers", "", world().picture(0)}), 2, "caption",
                     "--answers: is empty: expected a path"));
}

TEST(ProgramInference, CaptionTakesEveryOptionOfSearch) {
  const std::vector<std::string> common = {"--model", world().stage2(), "--json", world().picture(0)};
  const auto with = [&](const std::string& option) {
    std::vector<std::string> arguments = common;
    arguments.insert(arguments.end(), {"--option", option});
    return run("caption", arguments);
  };
  const Outcome outcome = with("max_new_tokens=2");
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_LE(json::parse(outcome.output).at("token_ids").size(), 2u);
  EXPECT_TRUE(failed(with("num_beam=2"), 2, "caption", "did you mean 'num_beams'?"));
  EXPECT_TRUE(failed(with("early_stopping=maybe"), 2, "caption", "early_stopping"));
  EXPECT_TRUE(failed(with("num_beams=9223372036854775807"), 2, "caption", "num_beams must be from 1 to 1024"));
  for (const std::string option :
       {"max_length=30", "early_stopping=true", "early_stopping=True", "min_new_tokens=null"}) {
    EXPECT_TRUE(succeeded(with(option))) << option;
  }
  EXPECT_EQ(with("early_stopping=true").output, with("early_stopping=yes").output);
}

TEST(ProgramInference, AStage1ModelWritesCaptionsAlone) {
  const Outcome outcome =
      run("caption", {"--model", world().stage1(), "--json", "--max-new-tokens", "5", world().picture(0)});
  ASSERT_TRUE(succeeded(outcome));
  const json caption = json::parse(outcome.output);
  EXPECT_TRUE(caption.at("caption").is_string());
  EXPECT_FALSE(caption.at("token_ids").empty());
  EXPECT_LE(caption.at("token_ids").size(), 5u);
  EXPECT_TRUE(failed(run("caption", {"--model", world().stage1(), "--prompt", "a", world().picture(0)}), 2, "caption",
                     "--prompt needs a language model, but '" + world().stage1() + "' is a stage-1 model"));
  EXPECT_TRUE(failed(run("caption", {"--model", reference_case("itm_tiny") + "/model", world().picture(0)}), 2,
                     "caption", "its folder lacks the head for text generation"));
}

TEST(ProgramInference, EveryModelCanBeRounded) {
  const std::string retrieval = reference_case("itm_tiny") + "/model",
                    generative = reference_case("opt_sharded_bf16") + "/model", output = world().file("rounded");
  for (const std::string format : {"none", "int8", "int8-fast", "int4"}) {
    SCOPED_TRACE(format);
    const std::vector<std::string> last = {"--quantize", format, world().picture(0)};
    const auto with = [&](std::vector<std::string> arguments) {
      arguments.insert(arguments.end(), last.begin(), last.end());
      return arguments;
    };
    const Outcome caption = run("caption", with({"--model", generative, "--json"}));
    ASSERT_TRUE(succeeded(caption));
    EXPECT_FALSE(json::parse(caption.output).at("token_ids").empty());
    EXPECT_TRUE(succeeded(run("caption", with({"--model", world().stage2()}))));
    EXPECT_TRUE(succeeded(run("match", with({"--model", retrieval, "--text", "a bus"}))));
    EXPECT_TRUE(succeeded(run("features", with({"--model", retrieval, "--output", output}))));
  }
  for (const std::string program : {"caption", "match", "features"}) {
    std::vector<std::string> arguments = {"--model", generative, "--quantize", "int5", world().picture(0)};
    if (program == "match") arguments.insert(arguments.end(), {"--text", "a"});
    if (program != "caption") arguments[1] = retrieval;
    if (program == "features") arguments.insert(arguments.end(), {"--output", output});
    EXPECT_TRUE(failed(run(program, arguments), 2, program,
                       "cannot quantize to 'int5': expected none, int8, int8-fast or int4"));
  }
}

/** A PEFT adapter of rank 1 for one matrix [width, width], whose B holds `value` everywhere. */
std::string write_adapter(const std::string& name, const std::string& layer, std::size_t width, float value) {
  const std::string folder = world().file(name), prefix = "base_model.model." + layer;
  std::filesystem::create_directories(folder);
  write_bytes(folder + "/adapter_config.json", R"({"peft_type": "LORA", "r": 1, "lora_alpha": 1, "bias": "none",
                                                   "init_lora_weights": true})");
  const std::size_t bytes = width * sizeof(float);
  const json header = {
      {prefix + ".lora_A.weight", {{"dtype", "F32"}, {"shape", {1, width}}, {"data_offsets", {0, bytes}}}},
      {prefix + ".lora_B.weight", {{"dtype", "F32"}, {"shape", {width, 1}}, {"data_offsets", {bytes, 2 * bytes}}}}};
  const std::string text = header.dump();
  const std::uint64_t length = text.size();
  std::vector<float> values(width, 0.5F);
  values.resize(2 * width, value);
  write_bytes(folder + "/adapter_model.safetensors",
              std::string(reinterpret_cast<const char*>(&length), sizeof length) + text +
                  std::string(reinterpret_cast<const char*>(values.data()), 2 * bytes));
  return folder;
}

TEST(ProgramInference, LoraIsMergedIntoRunsAndPublishedFolders) {
  const std::string answers = world().file("lora_answers.txt");
  write_bytes(answers, "a red square\n");
  const auto score = [&](const std::vector<std::string>& more) {
    std::vector<std::string> all = {"--model", world().stage2(), "--answers", answers, "--json", world().picture(0)};
    all.insert(all.end(), more.begin(), more.end());
    const Outcome outcome = run("caption", all);
    EXPECT_TRUE(succeeded(outcome));
    return json::parse(outcome.output).at("log_probability").get<double>();
  };
  const auto width = world().language_model_config().at("text_config").at("hidden_size").get<std::size_t>();
  const std::string layer = "language_model.model.decoder.layers.0.self_attn.v_proj";
  const std::string nothing = write_adapter("lora_nothing", layer, width, 0),
                    something = write_adapter("lora", layer, width, 0.5F);
  EXPECT_EQ(score({"--lora", nothing}), score({}));
  EXPECT_NE(score({"--lora", something}), score({}));
  EXPECT_EQ(score({"--lora", something, "--lora", nothing}), score({"--lora", something}));
  EXPECT_NEAR(score({"--lora", something, "--quantize", "int8"}), score({"--lora", something}), 0.2);
  EXPECT_TRUE(failed(run("caption", {"--model", world().stage2(), "--lora", write_adapter("lora_none", "extra", 4, 1),
                                     world().picture(0)}),
                     2, "caption", "this adapter does not fit the model: 'extra.weight' is not in the model"));
  const std::string opt = std::string(BLIP2_TEST_DATA) + "/lora/opt", output = world().file("lora.safetensors");
  const std::string model = reference_case("opt_sharded_bf16") + "/model";
  ASSERT_TRUE(succeeded(run("features", {"--model", model, "--output", output, world().picture(0)})));
  const auto before = tensor_values(output, "projected_tokens");
  ASSERT_TRUE(succeeded(run("features", {"--model", model, "--lora", opt, "--output", output, world().picture(0)})));
  EXPECT_NE(tensor_values(output, "projected_tokens"), before);
}

TEST(ProgramInference, FeaturesWritesEmbeddingsOfWhatCanBeRead) {
  const std::string output = world().file("features.safetensors");
  const std::string retrieval = reference_case("itm_tiny") + "/model",
                    generative = reference_case("opt_sharded_bf16") + "/model";
  const Outcome outcome = run("features", {"--model", retrieval, "--output", output, "--text", "a bus", "--text",
                                           "a dog", world().picture(0), world().file("none.png"), world().picture(1)});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.error, HasSubstr("none.png"));
  EXPECT_EQ(outcome.output, output + ": 2 pictures\n");
  EXPECT_EQ(tensor_values(output, "query_output").size(), 2u * 8 * 32);
  EXPECT_EQ(tensor_values(output, "image_embeds").size(), 2u * 8 * 20);
  EXPECT_EQ(tensor_values(output, "text_embeds").size(), 2u * 20);
  ASSERT_TRUE(succeeded(run("features", {"--model", generative, "--output", output, world().picture(0)})));
  EXPECT_EQ(tensor_values(output, "projected_tokens").size(), 8u * 40);
  EXPECT_TRUE(failed(run("features", {"--model", generative, "--output", output, "--text", "a", world().picture(0)}), 2,
                     "features", "--text needs a stage-1 or retrieval model"));
}

TEST(ProgramInference, WhatIsReadIsNotWrittenOver) {
  const std::string model = world().file("kept_model"), picture = world().file("kept.bmp");
  std::filesystem::copy(reference_case("itm_tiny") + "/model", model);
  std::filesystem::copy_file(world().picture(0), picture);
  const std::string weights = model + "/model.safetensors", inputs = world().file("kept.safetensors");
  std::filesystem::copy_file(reference_case("itm_tiny") + "/inputs.safetensors", inputs);
  const auto keeps = [&](const std::string& program, const std::string& output, std::vector<std::string> arguments) {
    const std::string before = read_bytes(output);
    arguments.insert(arguments.end(), {"--model", model, "--output", output});
    EXPECT_TRUE(failed(run(program, arguments), 2, program,
                       "will not replace the file '" + output + "': it is read too; choose another name"));
    EXPECT_EQ(read_bytes(output), before);
  };
  keeps("features", picture, {picture});
  keeps("features", weights, {picture});
  keeps("trace", inputs, {"--inputs", inputs});
  keeps("trace", model + "/config.json", {"--inputs", inputs});
  EXPECT_TRUE(succeeded(run("features", {"--model", model, "--output", world().file("new/folder/f"), picture})));
}

TEST(ProgramInference, AModelThatComputesNoNumbersIsSaid) {
  const std::string model = world().file("broken_model"), weights = model + "/model.safetensors";
  std::filesystem::copy(reference_case("itm_tiny") + "/model", model);
  std::string bytes = read_bytes(weights);
  std::fill(bytes.end() - 4096, bytes.end(), '\xff');  // NaN in every float format
  write_bytes(weights, bytes);
  const std::vector<std::string> common = {"--model", model, world().picture(0)};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.end(), common.begin(), common.end());
    return more;
  };
  EXPECT_TRUE(failed(run("match", with({"--text", "a bus"})), 1, "match", "values that are no numbers"));
  EXPECT_TRUE(failed(run("features", with({"--output", world().file("no_numbers")})), 1, "features",
                     "values that are no numbers"));
  EXPECT_FALSE(std::filesystem::exists(world().file("no_numbers")));
}

TEST(ProgramInference, TraceWritesWhatACaseAsksFor) {
  const std::string output = world().file("traced");
  const Outcome outcome = run("trace", {reference_case("itm_tiny"), "--output", output, "--double"});
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_EQ(outcome.output, output + "/actual.safetensors\n" + output + "/actual.json\n");
  EXPECT_THAT(tensor_names(output + "/actual.safetensors"), testing::Contains("loss.itm"));
}

TEST(ProgramInference, TraceWritesEveryActivationOfAModel) {
  const std::string folder = reference_case("itm_tiny"), output = world().file("traced.safetensors");
  const auto arguments = [&](const std::string& model, const std::vector<std::string>& more) {
    std::vector<std::string> all = {"--model", model, "--inputs", folder + "/inputs.safetensors", "--output", output};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  ASSERT_TRUE(succeeded(run("trace", arguments(folder + "/model", {}))));
  EXPECT_THAT(tensor_names(output), testing::IsSupersetOf({"vision.hidden_states.0", "itm.logits_per_image",
                                                           "itc.text.qformer.hidden_states.1", "itc.text_embeds"}));
  EXPECT_TRUE(failed(run("trace", arguments(folder + "/model", {"--gradients"})), 2, "trace",
                     "gradients need 'labels', from which the loss is computed"));
  EXPECT_TRUE(failed(run("trace", arguments(reference_case("opt_sharded_bf16") + "/model", {})), 2, "trace",
                     "row 0 of the text holds 0 placeholders for its picture, expected 8 (num_query_tokens)"));
  EXPECT_TRUE(
      failed(run("trace", {"--output", output}), 2, "trace", "expected a reference case, or --model and --inputs"));
}

}  // namespace
}  // namespace blip2
