// What `trace` writes for the reference cases, judged tensor by tensor: small copies always, the whole set where it is
// at hand.
#include "blip2/trace/reference_case.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <fstream>

#include "blip2/core/config.h"
#include "blip2/image/transforms.h"
#include "blip2/trace/trace_inputs.h"
#include "support/expect_error.h"
#include "support/reference.h"
#include "support/temporary_folder.h"
#include "trace/expect_case.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

TEST(ReferenceCase, GenerativeModelComputesWhatIsExpected) {
  const Compared compared = expect_case(test_data("cases/opt_sharded_bf16"), {});
  EXPECT_EQ(compared.tensors, 8);
  EXPECT_EQ(compared.leaves, 2 + 59 + 4);  // options, new tokens and texts
}

TEST(ReferenceCase, RetrievalModelComputesWhatIsExpected) {
  EXPECT_EQ(expect_case(test_data("cases/itm_tiny"), {}).tensors, 8);
}

TEST(ReferenceCase, DoublePrecisionIsAsExactAsWhatIsStored) {
  const Tolerances stored_as_float{2e-7, 2e-7};
  expect_case(test_data("cases/itm_tiny"), stored_as_float, /*double_precision=*/true);
}

TEST(TraceInputs, InDoubleEveryDigitIsHuggingFaces) {
  const fs::path folder = test_data("cases/opt_sharded_bf16");
  const NamedTensors stored = load_safetensors(folder / "inputs.safetensors");
  NamedTensors inputs{{"pixel_values", stored.at("pixel_values")}};
  for (const std::string name : {"input_ids", "attention_mask", "labels"}) {
    inputs.emplace(name, stored.at("forward.left." + name));
  }
  const NamedTensors trace = trace_inputs(folder / "model", inputs, {.gradients = true, .double_precision = true});
  const at::Tensor mask = inputs.at("attention_mask").to(at::kBool);
  const NamedTensors expected = load_safetensors(test_data("double/opt.safetensors"));
  EXPECT_EQ(expected.size(), 9U);
  for (const auto& [name, tensor] : expected) {
    const at::Tensor actual = trace.at(name);
    ASSERT_EQ(actual.scalar_type(), at::kDouble) << name;
    if (name == "logits") {  // padding means nothing
      expect_close(actual.index({mask}).slice(1, 0, std::nullopt, 9), tensor.index({mask}), 1e-12, name);
    } else {
      expect_close(actual, tensor, 1e-12, name);
    }
  }
}

TEST(TraceInputs, WhatDoesNotFitTheModelIsNamed) {
  const fs::path folder = test_data("cases/opt_sharded_bf16");
  const NamedTensors stored = load_safetensors(folder / "inputs.safetensors");
  NamedTensors inputs{{"pixel_values", stored.at("pixel_values")}};
  for (const std::string name : {"input_ids", "attention_mask", "labels"}) {
    inputs.emplace(name, stored.at("forward.left." + name));
  }
  const auto with = [&](const std::string& name, const at::Tensor& tensor, bool interpolate = false) {
    NamedTensors changed = inputs;
    changed[name] = tensor;
    return trace_inputs(folder / "model", changed, {.interpolate = interpolate});
  };
  at::Tensor labels = inputs.at("labels").clone();
  labels[0][-1] = 1 << 20;
  EXPECT_USER_ERROR(with("labels", labels), "'labels' holds 1048576, expected -100 (not counted) or an id of 0..");
  EXPECT_USER_ERROR(with("labels", torch::cat({labels, labels}, 1)),
                    "expected Long [3, L] with at most 25 labels for the last rows");
  const at::Tensor& pixels = inputs.at("pixel_values");
  EXPECT_USER_ERROR(with("pixel_values", torch::cat({pixels, pixels}, 2)), "the model's image_size (--interpolate");
  EXPECT_GT(with("pixel_values", torch::cat({pixels, pixels}, 2), /*interpolate=*/true).size(), 20U);
  EXPECT_USER_ERROR(with("pixel_values", pixels.slice(2, 0, 2), true), "with sides of at least");
  const at::Tensor& ids = inputs.at("input_ids");
  inputs.erase("labels");
  inputs.erase("attention_mask");
  EXPECT_USER_ERROR(with("input_ids", ids.repeat({1, 100})), "fit into the model's ");

  const fs::path pairs = test_data("cases/itm_tiny");
  const NamedTensors own = load_safetensors(pairs / "inputs.safetensors");
  NamedTensors pair{{"pixel_values", own.at("pixel_values")}, {"input_ids", own.at("text.input_ids")}};
  pair["labels"] = torch::full({pair["input_ids"].size(0)}, 2, torch::kLong);
  EXPECT_USER_ERROR(trace_inputs(pairs / "model", pair, {}), "1 where text and picture match and 0 elsewhere");
}

TEST(ReferenceCase, WholeSetComputesWhatIsExpectedWhereItIsAtHand) {
  const fs::path set = fs::path(BLIP2_SHARED_DATA) / "fixtures/huggingface";
  if (!fs::exists(set)) return;
  for (const char* name : {"opt_tiny", "opt_sharded_bf16", "opt_legacy", "itm_tiny", "itm_image_token",
                           "vision_interpolated", "logits_processors", "image_processor"}) {
    EXPECT_GT(expect_case(set / name, {}).tensors, 20);
  }
  const Tolerances unscaled_attention{2e-4, 2e-4};
  for (const char* name : {"t5_tiny", "t5_relu_tied"})
    EXPECT_GT(expect_case(set / name, unscaled_attention).tensors, 20);
}

TEST(ReferenceCase, LogitsProcessorsComputeWhatIsExpected) {
  const Compared compared = expect_case(test_data("generate/logits_processors"), {});
  EXPECT_EQ(compared.tensors, 2 * 47);
  EXPECT_GT(compared.leaves, 47 * (6 + 4));  // tokens kept and the question; options and order besides
}

/** A case whose expected.safetensors holds nothing but the names. */
void write_image_case(const fs::path& folder) {
  fs::create_directories(folder / "files");
  for (const char* file : {"rgb.png", "tall.jpg", "truncated.jpg"}) {
    fs::copy(test_data("image") / file, folder / "files" / file);
  }
  const json crops = {{{"key", "rgb.png.crop.0"},
                       {"file", "rgb.png"},
                       {"i", 3},
                       {"j", 5},
                       {"h", 40},
                       {"w", 30},
                       {"flip", true},
                       {"size", 8}}};
  const json asked = {
      {"files", {{"rgb.png", {}}, {"tall.jpg", {}}, {"truncated.jpg", {}}}}, {"sizes", {12, 20}}, {"crops", crops}};
  std::ofstream(folder / "expected.json") << asked;
  NamedTensors names;
  for (const char* name : {"rgb.png.20", "rgb.png.pixel_values", "rgb.png.crop.0", "tall.jpg.12",
                           "tall.jpg.12.horizontal_first", "truncated.jpg.12"}) {
    names[name] = torch::zeros({1});
  }
  save_safetensors(names, folder / "expected.safetensors");
}

at::Tensor bytes_of(const Image& image) {
  return torch::tensor(at::ArrayRef<std::uint8_t>(image.pixels), torch::kByte).view({image.height, image.width, 3});
}

TEST(ReferenceCase, PicturesGiveWhatTheNamesAskFor) {
  const TemporaryFolder folder;
  write_image_case(folder.path() / "case");
  run_reference_case(folder.path() / "case", folder.path() / "out", {});
  const NamedTensors actual = load_safetensors(folder.path() / "out/actual.safetensors");
  const Image rgb = load_image(test_data("image/rgb.png")), tall = load_image(test_data("image/tall.jpg"));
  const std::map<std::string, at::Tensor> expected = {
      {"rgb.png", bytes_of(rgb)},
      {"tall.jpg", bytes_of(tall)},
      {"rgb.png.20", bytes_of(resize_bicubic(rgb, 20, 20))},
      {"rgb.png.crop.0", bytes_of(flip_horizontal(resize_bicubic(crop(rgb, {3, 5, 40, 30}), 8, 8)))},
      {"tall.jpg.12", bytes_of(resize_bicubic(resize_bicubic(tall, 12, tall.width), 12, 12))},
      {"tall.jpg.12.horizontal_first", bytes_of(resize_bicubic(tall, 12, 12))}};
  for (const auto& [name, tensor] : expected) EXPECT_TRUE(torch::equal(actual.at(name), tensor)) << name;
  EXPECT_FALSE(torch::equal(actual.at("tall.jpg.12"), actual.at("tall.jpg.12.horizontal_first")));
  EXPECT_EQ(actual.at("rgb.png.pixel_values").sizes(), (std::vector<std::int64_t>{3, 6, 6}));
  EXPECT_EQ(actual.size(), expected.size() + 1);
  const json files = load_json(folder.path() / "out/actual.json").at("files");
  EXPECT_EQ(files["rgb.png"]["size"], (json{90, 70}));
  EXPECT_NE(files["truncated.jpg"]["refused"].get<std::string>().find("truncated.jpg' is a JPEG that was cut short"),
            std::string::npos);
}

std::vector<json> lines_of(const fs::path& file) {
  std::ifstream stream(file);
  std::vector<json> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(json::parse(line));
  return lines;
}

/** Every field of `actual` that a line of `expected` has too is equal -> number of lines. */
std::size_t expect_lines(const fs::path& actual, const fs::path& expected) {
  const std::vector<json> found = lines_of(actual), lines = lines_of(expected);
  EXPECT_EQ(found.size(), lines.size());
  for (std::size_t i = 0; i < std::min(found.size(), lines.size()); ++i) {
    for (const char* field : {"text", "ids", "decoded", "decoded_raw", "decoded_clean"}) {
      EXPECT_EQ(found[i][field], lines[i][field]) << lines[i]["text"];
    }
  }
  return lines.size();
}

TEST(ReferenceCase, TokenizersWriteTheLinesOfTheReference) {
  const TemporaryFolder folder;
  const fs::path reference = folder.path() / "tokenizers", output = folder.path() / "out";
  fs::create_directory(reference);
  fs::copy(test_data("text/opt.jsonl"), reference / "opt.jsonl");
  fs::copy(test_data("text/t5.jsonl"), reference / "t5.jsonl");
  fs::copy(test_data("text/opt"), folder.path() / "opt");
  std::ofstream(reference / "models.json") << json{{"opt.jsonl", "opt"}};
  run_reference_case(reference, output, {});
  EXPECT_EQ(expect_lines(output / "opt.jsonl", reference / "opt.jsonl"), 481U);
  EXPECT_FALSE(fs::exists(output / "t5.jsonl"));
  const json files = load_json(output / "actual.json").at("files");
  EXPECT_EQ(files, (json{{"opt.jsonl", {{"model", "opt"}, {"lines", 481}}}, {"t5.jsonl", {{"model", nullptr}}}}));
  std::ofstream(reference / "opt.jsonl") << "{\"text\": \"a\"}\n[]\n";
  EXPECT_USER_ERROR(run_reference_case(reference, output, {}), "opt.jsonl': line 2 is no JSON object with a \"text\"");
}

TEST(ReferenceCase, WholeSetOfTokenizersWritesTheLinesWhereItIsAtHand) {
  const fs::path set = fs::path(BLIP2_SHARED_DATA) / "fixtures/huggingface/tokenizers";
  if (!fs::exists(set)) return;
  const TemporaryFolder output;
  run_reference_case(set, output.path(), {});
  for (const char* name : {"opt_tokenizer_json.jsonl", "t5_tokenizer_json.jsonl"}) {
    EXPECT_EQ(expect_lines(output.path() / name, set / name), 481U);
  }
}

TEST(ReferenceCase, RefusesWhatIsNoCase) {
  const TemporaryFolder folder;
  EXPECT_USER_ERROR(run_reference_case(folder.path(), folder.path() / "out", {}), "expected.json': no such file");
  EXPECT_FALSE(fs::exists(folder.path() / "out"));
  save_safetensors({{"logits", torch::zeros({1})}}, folder.path() / "inputs.safetensors");
  std::ofstream(folder.path() / "expected.json") << "{}";
  EXPECT_USER_ERROR(run_reference_case(folder.path(), folder.path() / "out", {}),
                    "' is no reference case: expected model/, or an expected.json and inputs.safetensors of one that "
                    "this program knows");
}

}  // namespace
}  // namespace blip2
