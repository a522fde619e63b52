// Folders to LAVIS checkpoints and back: nothing may change on the way, and what LAVIS leaves out comes from elsewhere.
#include "blip2/models/lavis_checkpoint.h"

#include "blip2/models/published_folder.h"
#include "models/lavis_folders.h"
#include "support/expect_error.h"

namespace blip2 {
namespace {

using nlohmann::json;

class LavisCheckpoint : public LavisFolders {};

TEST_F(LavisCheckpoint, AWholeFolderGoesThereAndBackToTheBit) {
  for (const fs::path& model : {kOpt, kRetrieval}) {
    SCOPED_TRACE(model);
    fs::remove(at("model.pth"));
    fs::remove(at("again.pth"));
    const LavisConversion there = folder_to_lavis(model, at("model.pth"));
    EXPECT_GT(there.tensors, 100U);
    LavisSources sources;
    sources.config = model / "config.json";
    sources.tokenizer = model;
    EXPECT_EQ(lavis_to_folder(at("model.pth"), at("back"), sources).from_sources, 0U);
    expect_same_tensors(at("back"), model);
    folder_to_lavis(at("back"), at("again.pth"));
    EXPECT_EQ(bytes_of(at("again.pth")), bytes_of(at("model.pth")));
  }
}

TEST_F(LavisCheckpoint, FrozenPartsComeFromAFolderLikeTheResult) {
  const LavisConversion there = folder_to_lavis(kOpt, at("model.pth"), /*with_frozen=*/false);
  const TorchStateDict trained(at("model.pth"));
  for (const auto& entry : trained.tensors()) {
    EXPECT_NE(entry.name.rfind("visual_encoder.", 0), 0U) << entry.name;
    EXPECT_NE(entry.name.rfind("opt_model.", 0), 0U) << entry.name;
  }
  LavisSources sources;
  sources.like = kOpt;
  const LavisConversion back = lavis_to_folder(at("model.pth"), at("back"), sources);
  EXPECT_GT(back.from_sources, 50U);
  EXPECT_EQ(back.tensors, back.from_sources + there.tensors - 1);  // position ids are made anew each time
  expect_same_tensors(at("back"), kOpt);
  EXPECT_EQ(load_json(at("back") / "config.json"), load_json(kOpt / "config.json"));
  const GeneratorModel generator = load_generator_model(at("back"));
  EXPECT_EQ(generator.transform.mean, load_generator_model(kOpt).transform.mean);
  EXPECT_EQ(generator.tokenizer->encode("a small bus"), load_generator_model(kOpt).tokenizer->encode("a small bus"));
}

TEST_F(LavisCheckpoint, FrozenPartsComeFromTheirOwnPublishers) {
  folder_to_lavis(kOpt, at("model.pth"), /*with_frozen=*/false);
  json config = load_json(kOpt / "config.json");
  for (const char* key : {"text_config", "architectures", "model_type", "image_token_index"}) config.erase(key);
  std::ofstream(at("config.json")) << config;
  LavisSources sources;
  sources.config = at("config.json");
  sources.vision = vision_file();
  sources.language_model = language_model();
  lavis_to_folder(at("model.pth"), at("back"), sources);
  expect_same_tensors(at("back"), kOpt);
  const GeneratorModel generator = load_generator_model(at("back"));
  const auto newline = generator.tokenizer->encode("\n", /*add_special_tokens=*/false);
  EXPECT_EQ(generator.model->options().text_config.opt.eos_token_id, newline.back());
  EXPECT_EQ(load_json(at("back") / "preprocessor_config.json").at("size").at("height"), 56);
}

TEST_F(LavisCheckpoint, TheLanguageModelMayBeARunOfOurTrainer) {
  folder_to_lavis(kOpt, at("model.pth"), /*with_frozen=*/false);
  const fs::path published = language_model(), weights = at("run") / "checkpoint", tokenizer = at("run") / "tokenizer";
  fs::create_directories(weights);
  fs::copy(published / "model.safetensors", weights);
  std::ofstream(weights / "config.json") << json{{"text_config", load_json(published / "config.json")}};
  fs::copy(published, tokenizer);
  LavisSources sources;
  sources.config = kOpt / "config.json";
  sources.vision = vision_file();
  sources.language_model = at("run");
  lavis_to_folder(at("model.pth"), at("back"), sources);
  expect_same_tensors(at("back"), kOpt);
  EXPECT_EQ(bytes_of(at("back") / "tokenizer.json"), bytes_of(published / "tokenizer.json"));
  EXPECT_EQ(load_json(at("back") / "config.json").at("text_config").at("eos_token_id"), 202);
}

TEST_F(LavisCheckpoint, Stage1KeepsItsHeads) {
  folder_to_lavis(kStage1, at("model.pth"));
  LavisSources sources;
  sources.config = kStage1 / "config.json";
  sources.tokenizer = kRetrieval;
  lavis_to_folder(at("model.pth"), at("back"), sources);
  const NamedTensors heads = load_safetensors(at("back") / "stage1_heads.safetensors");
  const NamedTensors given = load_model_tensors(kStage1);
  EXPECT_EQ(heads.size(), 6U);
  for (const auto& [name, tensor] : heads) EXPECT_TRUE(torch::equal(tensor, given.at(name))) << name;
  EXPECT_EQ(load_model_tensors(at("back")).size() + heads.size(), given.size());
  folder_to_lavis(at("back"), at("again.pth"));
  EXPECT_EQ(bytes_of(at("again.pth")), bytes_of(at("model.pth")));
  EXPECT_TRUE(is_retrieval_model(at("back")));
}

TEST_F(LavisCheckpoint, AnImageEncoderAloneBecomesAFolderThatTrainingStartsFrom) {
  LavisSources sources;
  sources.config = kOpt / "config.json";
  lavis_to_folder(vision_file(), at("tower"), sources);
  const VisionOptions options = published_options(load_json(kOpt / "config.json"), kOpt).vision_config;
  const auto tower = make_vision_encoder(options);
  load_vision_tower(*tower, at("tower"));
  const NamedTensors expected = load_model_tensors(kOpt);
  for (const auto& item : tower->named_parameters()) {
    if (item.key().starts_with("post_layernorm")) continue;
    EXPECT_TRUE(torch::equal(item.value(), expected.at("vision_model." + item.key()).to(at::kFloat))) << item.key();
  }
  EXPECT_EQ(load_model_tensors(at("tower")).count("vision_model.encoder.layers.3.mlp.fc1.bias"), 0U);
  EXPECT_EQ(load_json(at("tower") / "config.json").at("num_hidden_layers"), 3);
}

TEST_F(LavisCheckpoint, PicturesOfAnotherSizeAreFollowed) {
  folder_to_lavis(kOpt, at("model.pth"));
  NamedTensors lavis = load_torch_state_dict(at("model.pth"));
  lavis["visual_encoder.pos_embed"] = torch::rand({1, 26, 48});
  save_torch_archive(lavis, at("model.pth"));
  LavisSources sources;
  sources.like = kOpt;
  lavis_to_folder(at("model.pth"), at("back"), sources);
  EXPECT_EQ(load_generator_model(at("back")).model->options().vision_config.image_size, 70);
}

TEST_F(LavisCheckpoint, NamesEverythingThatIsMissingAndWritesNothing) {
  folder_to_lavis(kOpt, at("model.pth"), /*with_frozen=*/false);
  NamedTensors lavis = load_torch_state_dict(at("model.pth"));
  lavis.erase("query_tokens");
  lavis["opt_proj.weight"] = torch::zeros({3, 3});
  save_torch_archive(lavis, at("model.pth"));
  LavisSources sources;
  EXPECT_USER_ERROR(lavis_to_folder(at("model.pth"), at("back"), sources), "expected a folder with the tokenizer");
  sources.tokenizer = kOpt;
  EXPECT_USER_ERROR(lavis_to_folder(at("model.pth"), at("back"), sources),
                    "the checkpoint is of stage 2: expected its language model's folder, or a folder like it");
  sources.language_model = language_model();
  sources.config = kOpt / "config.json";
  EXPECT_USER_ERROR(lavis_to_folder(at("model.pth"), at("back"), sources),
                    "'language_projection.weight' has shape [3, 3] where the model has [40, 32], 'query_tokens' is "
                    "missing, 'vision_model.embeddings.class_embedding' is missing");
  sources.like = kRetrieval;
  sources.config.clear();
  EXPECT_USER_ERROR(lavis_to_folder(at("model.pth"), at("back"), sources),
                    "the checkpoint is of stage 2, but '" + kRetrieval.string() + "' holds a model of stage 1");
  EXPECT_FALSE(fs::exists(at("back")));
}

TEST_F(LavisCheckpoint, WithoutAConfigThePublishedSizesCount) {
  folder_to_lavis(kStage1, at("model.pth"));
  LavisSources sources;
  sources.tokenizer = kRetrieval;
  EXPECT_USER_ERROR(lavis_to_folder(at("model.pth"), at("back"), sources),
                    "'query_tokens' has shape [1, 8, 36] where the model has [1, 32, 768]");
  fs::remove(at("model.pth"));
  folder_to_lavis(kOpt, at("model.pth"), /*with_frozen=*/false);
  sources.language_model = language_model();
  EXPECT_USER_ERROR(lavis_to_folder(at("model.pth"), at("back"), sources),
                    "'language_projection.weight' has shape [40, 32] where the model has [40, 768]");
}

TEST_F(LavisCheckpoint, TheTokenizerComesFromOneFolder) {
  folder_to_lavis(kOpt, at("model.pth"));
  LavisSources sources;
  sources.like = kOpt;
  sources.tokenizer = at("typo");
  EXPECT_USER_ERROR(lavis_to_folder(at("model.pth"), at("back"), sources), "typo': there is no such folder");
  fs::create_directory(at("empty"));
  sources.tokenizer = at("empty");
  EXPECT_USER_ERROR(lavis_to_folder(at("model.pth"), at("back"), sources), "empty': looked for tokenizer.json");
  EXPECT_FALSE(fs::exists(at("back")));

  // As a run keeps it, and before the others: the answer's end is this one's newline.
  const fs::path own = at("run") / "tokenizer";
  fs::create_directories(own);
  for (const char* file : {"vocab.json", "merges.txt", "tokenizer_config.json"}) fs::copy(kOpt / file, own);
  json words = load_json(own / "vocab.json");
  for (auto& [word, id] : words.items()) {
    if (word == "\u010a")
      id = 3;  // "\n", as BPE spells it
    else if (id == 3)
      id = 202;
  }
  std::ofstream(own / "vocab.json") << words;
  sources.tokenizer = at("run");
  sources.language_model = language_model();
  lavis_to_folder(at("model.pth"), at("back"), sources);
  EXPECT_EQ(bytes_of(at("back") / "vocab.json"), bytes_of(own / "vocab.json"));
  EXPECT_FALSE(fs::exists(at("back") / "tokenizer.json"));
  EXPECT_EQ(load_json(at("back") / "config.json").at("text_config").at("eos_token_id"), 3);
  // Then the language model's, then that of the folder alike.
  sources.tokenizer.clear();
  std::ofstream(sources.language_model / "special_tokens_map.json") << R"({"eos_token": "</s>"} )";
  lavis_to_folder(at("model.pth"), at("second"), sources);
  EXPECT_EQ(bytes_of(at("second") / "special_tokens_map.json"), R"({"eos_token": "</s>"} )");
  sources.language_model.clear();
  lavis_to_folder(at("model.pth"), at("third"), sources);
  EXPECT_EQ(bytes_of(at("third") / "tokenizer.json"), bytes_of(kOpt / "tokenizer.json"));
}

TEST_F(LavisCheckpoint, TextPositionsAreAsManyAsAreStored) {
  fs::copy(kRetrieval, at("itm"));
  json config = load_json(kRetrieval / "config.json");
  const auto stored = load_model_tensors(kRetrieval).at("embeddings.position_embeddings.weight").size(0);
  config["qformer_config"]["max_position_embeddings"] = stored + 5;
  std::ofstream(at("itm") / "config.json") << config;
  folder_to_lavis(at("itm"), at("itm.pth"));
  EXPECT_EQ(load_torch_state_dict(at("itm.pth")).at("Qformer.bert.embeddings.position_ids").size(1), stored);
}

TEST_F(LavisCheckpoint, AHeadOfAnotherDtypeIsAHeadOfItsOwn) {
  folder_to_lavis(kOpt, at("model.pth"));
  NamedTensors lavis = load_torch_state_dict(at("model.pth"));
  lavis["opt_model.lm_head.weight"] = lavis.at("opt_model.model.decoder.embed_tokens.weight").to(at::kFloat);
  save_torch_archive(lavis, at("model.pth"));
  LavisSources sources;
  sources.like = kOpt;
  lavis_to_folder(at("model.pth"), at("back"), sources);
  EXPECT_EQ(load_model_tensors(at("back")).at("language_model.lm_head.weight").scalar_type(), at::kFloat);
  EXPECT_FALSE(load_generator_model(at("back")).model->options().text_config.opt.tie_word_embeddings);
}

}  // namespace
}  // namespace blip2
