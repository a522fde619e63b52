// Folders as Hugging Face writes them, against what its own models compute: a bfloat16 OPT in three shards and a
// retrieval model; earlier spellings and folders that are not what they should be.
#include "blip2/models/published_folder.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <fstream>

#include "blip2/checkpoint/hugging_face.h"
#include "blip2/core/config.h"
#include "blip2/losses/image_text_contrastive.h"
#include "blip2/losses/image_text_matching.h"
#include "blip2/models/captioner.h"
#include "support/expect_error.h"
#include "support/reference.h"
#include "support/temporary_folder.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/** `opt`: a generative model in bfloat16 and three shards; `retrieval`. */
fs::path reference_case(const std::string& kind) {
  return test_data(kind == "opt" ? "cases/opt_sharded_bf16" : "cases/itm_tiny");
}

fs::path published(const std::string& kind) {
  return reference_case(kind) / "model";
}

/** A copy of a published folder whose config.json a test may change. */
fs::path copy_of(const std::string& kind, const TemporaryFolder& folder) {
  const fs::path copy = folder.path() / "model";
  fs::copy(published(kind), copy);
  return copy;
}

void change_json(const fs::path& file, const std::function<void(json&)>& change) {
  json object = load_json(file);
  change(object);
  std::ofstream(file) << object.dump();
}

/** Puts the tensors of the folder into one file, changed. */
void change_tensors(const fs::path& folder, const std::function<void(NamedTensors&)>& change) {
  NamedTensors tensors = load_model_tensors(folder);
  change(tensors);
  save_safetensors(tensors, folder / "model.safetensors");
}

at::Tensor first_pictures(const std::string& kind) {
  return load_safetensors(reference_case(kind) / "inputs.safetensors").at("pixel_values");
}

at::Tensor soft_prompt(const GeneratorModel& generator) {
  const torch::NoGradGuard no_grad;
  return generator.model.ptr()->project_image(first_pictures("opt"));
}

TEST(PublishedGenerator, SoftPromptIsTheReferences) {
  const GeneratorModel generator = load_generator_model(published("opt"));
  const NamedTensors expected = load_safetensors(reference_case("opt") / "expected.safetensors");
  expect_close(soft_prompt(generator), expected.at("projected_tokens"), 2e-5, "projected_tokens");
}

TEST(PublishedGenerator, PicturesAreResizedAsItsImageProcessorDoes) {
  const GeneratorModel generator = load_generator_model(published("opt"));
  const NamedTensors inputs = load_safetensors(reference_case("opt") / "inputs.safetensors");
  for (int i = 0; i < 3; ++i) {
    const at::Tensor raw = inputs.at("image." + std::to_string(i)).contiguous();
    Image image{raw.size(0), raw.size(1), {}};
    image.pixels.assign(raw.data_ptr<std::uint8_t>(), raw.data_ptr<std::uint8_t>() + raw.numel());
    const at::Tensor pixels = torch::tensor(evaluation_transform(image, generator.transform)).view({3, 56, 56});
    EXPECT_TRUE(torch::equal(pixels, inputs.at("pixel_values")[i])) << i;
  }
}

TEST(PublishedGenerator, SaysTheReferencesTokens) {
  GeneratorModel generator = load_generator_model(published("opt"));
  int compared = 0;
  const json expected = load_json(reference_case("opt") / "expected.json");
  for (const auto& [name, entry] : expected["generate"].items()) {
    GenerationOptions options;
    read_config(entry["options"], options, name);
    std::vector<std::int64_t> pictures;
    for (const json& row : entry["rows"]) pictures.push_back(row["image"]);
    const at::Tensor pixels = first_pictures("opt").index_select(0, torch::tensor(pictures, torch::kLong));
    const auto captions = caption_pictures(generator, pixels, "", options);
    for (std::size_t row = 0; row < captions.size(); ++row) {
      EXPECT_EQ(captions[row].front().token_ids, entry["new_tokens"][row].get<std::vector<std::int64_t>>()) << name;
      ++compared;
    }
  }
  EXPECT_EQ(compared, 4);
}

TEST(PublishedGenerator, EveryFolderOfTheReferenceSetLoadsWhereItIsAtHand) {
  const auto set = fs::path(BLIP2_SHARED_DATA) / "fixtures/huggingface";
  if (!fs::exists(set)) return;
  for (const char* name : {"opt_tiny", "t5_tiny", "t5_relu_tied", "opt_sharded_bf16", "vision_interpolated"}) {
    SCOPED_TRACE(name);
    const GeneratorModel generator = load_generator_model(set / name / "model");
    const NamedTensors inputs = load_safetensors(set / name / "inputs.safetensors");
    if (inputs.count("pixel_values") == 0) continue;  // pictures of several sizes
    const torch::NoGradGuard no_grad;
    expect_close(generator.model.ptr()->project_image(inputs.at("pixel_values").slice(0, 0, 3)),
                 load_safetensors(set / name / "expected.safetensors").at("projected_tokens"), 2e-5, name);
  }
}

TEST(PublishedGenerator, LoadsConfigsOfBothGenerations) {
  const TemporaryFolder folder;
  const fs::path copy = copy_of("opt", folder);
  const at::Tensor expected = soft_prompt(load_published_generator(copy));
  change_json(copy / "config.json", [](json& config) {
    config["image_token_id"] = config["image_token_index"];
    config.erase("image_token_index");
  });
  EXPECT_EQ(load_published_generator(copy).model->options().image_token_index, 565);
  change_json(copy / "config.json", [](json& config) {
    config.erase("image_token_id");
    config.erase("architectures");
    config["qformer_config"]["classifier_dropout"] = nullptr;
    config["text_config"]["_name_or_path"] = "somewhere";
  });
  const GeneratorModel earlier = load_published_generator(copy);
  EXPECT_FALSE(earlier.model->options().image_token_index.has_value());
  EXPECT_TRUE(torch::equal(soft_prompt(earlier), expected));
}

TEST(PublishedGenerator, AStoredHeadIsTiedOnlyWhereItEqualsTheEmbedding) {
  const std::string embedding = "language_model.model.decoder.embed_tokens.weight",
                    head = "language_model.lm_head.weight";
  for (const double factor : {1.0, 2.0}) {
    const TemporaryFolder folder;
    const fs::path copy = copy_of("opt", folder);
    change_tensors(copy, [&](NamedTensors& tensors) { tensors[head] = tensors[embedding] * factor; });
    const GeneratorModel generator = load_published_generator(copy);
    EXPECT_EQ(generator.model->options().text_config.opt.tie_word_embeddings, factor == 1.0);
  }
}

TEST(PublishedGenerator, NamesEveryTensorThatDoesNotFit) {
  const TemporaryFolder folder;
  const fs::path copy = copy_of("opt", folder);
  change_tensors(copy, [](NamedTensors& tensors) {
    for (int i = 0; i < 3; ++i) tensors.erase("vision_model.encoder.layers." + std::to_string(i) + ".mlp.fc1.weight");
    for (int i = 0; i < 3; ++i) {
      tensors.erase("language_model.model.decoder.layers." + std::to_string(i) + ".fc1.weight");
      tensors.erase("language_model.model.decoder.layers." + std::to_string(i) + ".fc2.weight");
    }
    tensors["query_tokens"] = torch::zeros({1, 9, 32});
    tensors["qformer.extra"] = torch::zeros({1});
  });
  EXPECT_USER_ERROR(load_published_generator(copy), "11 tensors do not fit the model");
  EXPECT_USER_ERROR(load_published_generator(copy), "'vision_model.encoder.layers.2.mlp.fc1.weight' is missing");
  EXPECT_USER_ERROR(
      load_published_generator(copy),
      "'query_tokens' has shape [1, 9, 32] where the model has [1, 8, 32], 'qformer.extra' is unexpected");
}

/** What loading a copy says whose config.json has `value` at `pointer`. */
void expect_refused(const std::string& kind, const char* pointer, const json& value, const std::string& sentence) {
  const TemporaryFolder folder;
  const fs::path copy = copy_of(kind, folder);
  change_json(copy / "config.json", [&](json& config) { config[json::json_pointer(pointer)] = value; });
  if (kind == "retrieval") {
    EXPECT_USER_ERROR(load_published_retrieval(copy), sentence);
  } else {
    EXPECT_USER_ERROR(load_published_generator(copy), sentence);
  }
}

TEST(PublishedGenerator, RefusesSizesThatTheWeightsDoNotHold) {
  constexpr std::int64_t kHuge = std::int64_t{1} << 24;  // squared, 1 PB: asking for it would fail otherwise
  const std::vector<std::pair<const char*, std::string>> cases = {
      {"/text_config/vocab_size",
       "config.json says text_config.vocab_size 16777216, but the weights do not hold as "
       "much: 'language_model.model.decoder.embed_tokens.weight' has shape [592, 40]"},
      {"/text_config/hidden_size", "'language_model.model.decoder.layers.0.fc1.weight' has shape"},
      {"/text_config/ffn_dim", "config.json says text_config.ffn_dim 16777216"},
      {"/text_config/max_position_embeddings", "config.json says text_config.max_position_embeddings 16777216"},
      {"/vision_config/hidden_size", "config.json says vision_config.hidden_size 16777216"},
      {"/vision_config/intermediate_size", "'vision_model.encoder.layers.0.mlp.fc1.weight' has shape"},
      {"/qformer_config/hidden_size", "config.json says qformer_config.hidden_size 16777216"},
      {"/qformer_config/intermediate_size", "'qformer.encoder.layer.0.intermediate_query.dense.weight' has shape"},
      {"/num_query_tokens", "config.json says num_query_tokens 16777216"},
  };
  for (const auto& [pointer, sentence] : cases) expect_refused("opt", pointer, kHuge, sentence);
  expect_refused("opt", "/vision_config/image_size", 16384,
                 "config.json says vision_config.image_size with its number of positions 1368901");
  expect_refused("retrieval", "/qformer_config/vocab_size", kHuge, "'embeddings.word_embeddings.weight' has shape");
  expect_refused("retrieval", "/image_text_hidden_size", kHuge, "'vision_projection.weight' has shape");
}

TEST(PublishedGenerator, RefusesIdsOutsideTheVocabulary) {
  expect_refused("opt", "/image_token_index", 592, "model: image_token_index 592 must lie in the vocabulary of 592");
  expect_refused("opt", "/image_token_index", -2, "model: image_token_index -2 must lie");
  expect_refused("opt", "/text_config/eos_token_id", 70000,
                 "text_config: eos_token_id 70000 must lie in the vocabulary of 592");
  expect_refused("opt", "/text_config/num_attention_heads", 7,
                 "text_config: hidden_size 40 must be a positive multiple of num_attention_heads 7");
  expect_refused("opt", "/qformer_config/num_hidden_layers", -1,
                 "qformer_config: num_hidden_layers -1 must lie between 1 and 1024");
}

TEST(PublishedGenerator, RefusesWhatItIsNot) {
  EXPECT_USER_ERROR(load_generator_model(published("retrieval")),
                    "holds a 'Blip2ForImageTextRetrieval', but generating text needs a Blip2ForConditionalGeneration");
  EXPECT_USER_ERROR(load_representation_model(published("opt")),
                    "but matching texts with pictures needs a Blip2ForImageTextRetrieval");
  const TemporaryFolder folder;
  const fs::path copy = copy_of("opt", folder);
  change_json(copy / "config.json", [](json& config) { config["text_config"]["model_type"] = "qwen2"; });
  EXPECT_USER_ERROR(load_generator_model(copy), "text_config: unknown model_type 'qwen2', expected opt or t5");
  fs::remove(copy / "model-00002-of-00003.safetensors");
  change_json(copy / "config.json", [](json& config) { config["text_config"]["model_type"] = "opt"; });
  EXPECT_USER_ERROR(load_generator_model(copy), "the shard 'model-00002-of-00003.safetensors' is missing");
}

TEST(PublishedRetrieval, MatchesAsTheReferenceDoes) {
  const RepresentationModel loaded = load_representation_model(published("retrieval"));
  auto& model = *loaded.model.ptr();
  const NamedTensors inputs = load_safetensors(reference_case("retrieval") / "inputs.safetensors");
  const NamedTensors expected = load_safetensors(reference_case("retrieval") / "expected.safetensors");
  const TextTokens text{inputs.at("input_ids"), inputs.at("attention_mask")};
  const torch::NoGradGuard no_grad;
  const ImageQueries image = model.encode_image(inputs.at("pixel_values"));
  const at::Tensor similarity =
      best_query_similarity(model.image_features(image.query_output), model.text_features(model.encode_text(text)));
  expect_close(similarity, expected.at("itc.logits_per_image"), 2e-5, "itc");
  expect_close(matching_logits(model.match(image.image_memory, text)), expected.at("itm.logits_per_image"), 2e-5,
               "itm");
}

TEST(ImageProcessor, IsReadFromEitherFile) {
  const TemporaryFolder folder;
  EXPECT_EQ(load_image_processor(folder.path(), 224).mean, ImageTransformOptions().mean);
  const json processor = {{"image_mean", {0.1, 0.2, 0.3}}, {"size", {{"height", 224}, {"width", 224}}}};
  std::ofstream(folder.path() / "processor_config.json") << json{{"image_processor", processor}}.dump();
  EXPECT_EQ(load_image_processor(folder.path(), 224).mean, (std::vector<double>{0.1, 0.2, 0.3}));
  std::ofstream(folder.path() / "preprocessor_config.json") << R"({"image_std": [0.5, 0.5, 0.5], "size": 224})";
  const ImageTransformOptions own = load_image_processor(folder.path(), 224);
  EXPECT_EQ(own.mean, ImageTransformOptions().mean);
  EXPECT_EQ(own.std, (std::vector<double>{0.5, 0.5, 0.5}));
}

TEST(ImageProcessor, RefusesWhatWouldPrepareOtherPictures) {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "preprocessor_config.json";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"({"size": {"height": 384, "width": 384}})",
       R"('size' is {"height":384,"width":384}, but the image encoder reads 224x224 pixels (vision_config.image_size))"},
      {R"({"size": {"shortest_edge": 224}})", R"('size' is {"shortest_edge":224})"},
      {R"({"resample": 2})", "'resample' is 2, expected 3 (bicubic)"},
      {R"({"do_normalize": false})", "'do_normalize' is false, expected true"},
      {R"({"do_center_crop": true})", "'do_center_crop' is true, expected false"},
      {R"({"rescale_factor": 0.0078})", "'rescale_factor' is 0.007800, expected 1/255"},
      {R"({"image_std": [1, 0, 1]})", "'std' must be three numbers above 0"},
      {R"({"image_mean": "clip"})", "image_mean"},
  };
  for (const auto& [text, sentence] : cases) {
    std::ofstream(file) << text;
    EXPECT_USER_ERROR(load_image_processor(folder.path(), 224), sentence);
    EXPECT_USER_ERROR(load_image_processor(folder.path(), 224), file.string());
  }
}

}  // namespace
}  // namespace blip2
