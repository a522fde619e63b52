#include "blip2/lm/language_model_options.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "blip2/core/config.h"
#include "support/expect_error.h"

namespace blip2 {
namespace {

LanguageModelOptions parse(const std::string& text) {
  LanguageModelOptions options;
  read_config(nlohmann::json::parse(text), options, "config.json", UnknownKeys::kIgnore);
  return options;
}

TEST(LanguageModelOptions, AreOptWhereTheFileIsSilent) {
  const LanguageModelOptions options = parse("{}");
  EXPECT_EQ(options.model_type, "opt");
  EXPECT_EQ(options.opt.vocab_size, 50272);
  EXPECT_EQ(options.opt.embedding_width(), 768);
}

TEST(LanguageModelOptions, ReadThePublishedOpt) {
  const auto options = parse(
      R"({"model_type": "opt", "eos_token_id": 50118, "ffn_dim": 10240, "hidden_size": 2560, "num_attention_heads": 32,
          "num_hidden_layers": 32, "vocab_size": 50304, "word_embed_proj_dim": 2560, "prefix": "</s>",
          "_remove_final_layer_norm": true})");
  EXPECT_EQ(options.opt.eos_token_id, 50118);
  EXPECT_EQ(options.opt.embedding_width(), 2560);
  EXPECT_TRUE(options.opt.remove_final_layer_norm);
}

TEST(LanguageModelOptions, DenseActivationInTheFileWinsOverTheProjectionsName) {
  const auto blip2 = parse(R"({"model_type": "t5", "dense_act_fn": "gelu", "feed_forward_proj": "gated-gelu"})").t5;
  EXPECT_EQ(blip2.dense_act_fn, "gelu");
  EXPECT_TRUE(blip2.is_gated_act);
  const auto plain = parse(R"({"model_type": "t5", "feed_forward_proj": "gated-gelu"})").t5;
  EXPECT_EQ(plain.dense_act_fn, "gelu_new");
  EXPECT_TRUE(plain.is_gated_act);
  const auto silu = parse(R"({"model_type": "t5", "feed_forward_proj": "gated-silu"})").t5;
  EXPECT_EQ(silu.dense_act_fn, "silu");
  const auto first = parse(R"({"model_type": "t5"})").t5;
  EXPECT_EQ(first.dense_act_fn, "relu");
  EXPECT_FALSE(first.is_gated_act);
}

TEST(LanguageModelOptions, ScalingFollowsTheTieUnlessTheFileSaysSo) {
  EXPECT_TRUE(parse(R"({"model_type": "t5"})").t5.scale_decoder_outputs);
  EXPECT_TRUE(parse(R"({"model_type": "t5", "tie_word_embeddings": true})").t5.scale_decoder_outputs);
  EXPECT_FALSE(parse(R"({"model_type": "t5", "tie_word_embeddings": false})").t5.scale_decoder_outputs);
  EXPECT_FALSE(parse(R"({"model_type": "t5", "tie_word_embeddings": true, "scale_decoder_outputs": false})")
                   .t5.scale_decoder_outputs);
  EXPECT_TRUE(parse(R"({"model_type": "t5", "tie_word_embeddings": false, "scale_decoder_outputs": true})")
                  .t5.scale_decoder_outputs);
}

TEST(LanguageModelOptions, WrittenAndReadAgainAreTheSame) {
  LanguageModelOptions options;
  options.model_type = "t5";
  options.t5 = flan_t5_xl_options();
  const nlohmann::json written = write_config(options);
  EXPECT_EQ(written.at("dense_act_fn"), "gelu");
  EXPECT_FALSE(written.contains("ffn_dim"));  // a field of the other kind
  EXPECT_EQ(write_config(parse(written.dump())), written);
  options.model_type = "opt";
  options.opt = opt_2_7b_options();
  EXPECT_EQ(write_config(parse(write_config(options).dump())), write_config(options));
}

TEST(LanguageModelOptions, RefuseAKindThatDoesNotExistHere) {
  EXPECT_USER_ERROR(parse(R"({"model_type": "gptj"})"), "unknown model_type 'gptj', expected opt or t5");
  LanguageModelOptions options;
  options.model_type = "llama";
  EXPECT_USER_ERROR(make_language_model(options), "unknown model_type 'llama'");
}

TEST(LanguageModelOptions, MakeTheKindTheyName) {
  const auto opt = make_language_model(
      parse(R"({"vocab_size": 11, "hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1, "ffn_dim": 9})"));
  EXPECT_FALSE(opt->is_encoder_decoder());
  EXPECT_EQ(opt->width(), 8);
  EXPECT_EQ(opt->special_ids().end, 2);
  EXPECT_EQ(opt->max_positions(), 2048);
  const auto t5 = make_language_model(parse(
      R"({"model_type": "t5", "vocab_size": 11, "d_model": 6, "num_heads": 2, "num_layers": 1, "d_ff": 9, "d_kv": 4})"));
  EXPECT_TRUE(t5->is_encoder_decoder());
  EXPECT_EQ(t5->width(), 6);
  EXPECT_EQ(t5->special_ids().decoder_start, 0);
  EXPECT_EQ(t5->special_ids().beginning, -1);
  EXPECT_EQ(t5->max_positions(), -1);
}

}  // namespace
}  // namespace blip2
