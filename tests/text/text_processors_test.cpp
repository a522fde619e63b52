#include "blip2/text/text_processors.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "support/expect_error.h"

namespace blip2 {
namespace {

TEST(TextProcessors, EveryTextComesOutAsInLavis) {
  std::ifstream stream(std::string(BLIP2_TEST_DATA) + "/text/lavis_text_processors.json");
  const auto expected = nlohmann::json::parse(stream);
  const std::string prompt = expected["prompt"];
  ASSERT_EQ(expected["rows"].size(), 64);
  for (const auto& row : expected["rows"]) {
    const std::string text = row["text"];
    EXPECT_EQ(process_caption(text), row["blip_caption"]) << text;
    EXPECT_EQ(process_caption(text, 50, prompt), row["blip_caption_prompt"]) << text;
    EXPECT_EQ(process_caption(text, 5), row["blip_caption_max5"]) << text;
    EXPECT_EQ(process_question(text), row["blip_question"]) << text;
    EXPECT_EQ(process_question(text, 5), row["blip_question_max5"]) << text;
  }
}

TEST(TextProcessors, CaptionsTradeCharactersForSpacesAndQuestionsLoseThem) {
  const std::string text = "Who's  there: the \"dog\"(s)? ";
  EXPECT_EQ(process_caption(text), "who's there the dog s ?");
  EXPECT_EQ(process_question(text), "who's  there the dogs?");
  // Between two spaces stands a word of a question.
  EXPECT_EQ(process_caption(text, 3), "who's there the");
  EXPECT_EQ(process_question(text, 3), "who's  there");
}

TEST(TextProcessors, FiftyWordsAreKeptUnlessAskedOtherwise) {
  std::string fifty = "w";
  for (int i = 1; i < 50; ++i) fifty += " w";
  for (const auto& text : {fifty, fifty + " x", fifty + " x x"}) {
    EXPECT_EQ(process_caption(text), fifty);
    EXPECT_EQ(process_question(text), fifty);
  }
  EXPECT_EQ(process_caption(fifty + " x", 51), fifty + " x");
  EXPECT_EQ(process_question(fifty + " x", 51), fifty + " x");
}

TEST(TextProcessors, AsciiSeparatorsCountAsWhiteSpace) {
  EXPECT_EQ(process_caption("a\x1C\x1F"
                            "b"),
            "a b");
}

TEST(TextProcessors, InvalidUtf8BecomesTheReplacementCharacter) {
  EXPECT_EQ(process_caption("A\xFF"
                            "B"),
            "a\uFFFD"
            "b");
  EXPECT_EQ(process_question("A\xFF"), "a\uFFFD");
}

TEST(TextProcessors, NoWordsAreKeptOfZero) {
  EXPECT_EQ(process_caption("a dog", 0, "a photo of "), "a photo of ");
  EXPECT_EQ(process_question("a dog", 0), "");
}

TEST(TextProcessors, ANegativeNumberOfWordsIsRefused) {
  EXPECT_USER_ERROR(process_caption("a dog", -1), "max_words must not be negative, got -1");
  EXPECT_USER_ERROR(process_question("a dog", -1), "max_words must not be negative, got -1");
}

}  // namespace
}  // namespace blip2
