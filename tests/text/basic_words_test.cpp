// Every code point against what Hugging Face's tokenizers library does to it (scripts/make_text_test_data.py).
#include "text/basic_words.h"

#include <gtest/gtest.h>

#include <fstream>

#include "text/unicode.h"

namespace blip2 {
namespace {

constexpr UChar32 kCodePoints = 0x110000;

std::vector<std::string> reference_classes() {
  std::vector<std::string> classes(kCodePoints, "kept");
  std::ifstream stream(std::string(BLIP2_TEST_DATA) + "/text/bert_characters.txt");
  std::size_t first, last;
  std::string name;
  while (stream >> std::hex >> first >> last >> name) {
    for (std::size_t c = first; c <= last; ++c) classes.at(c) = name;
  }
  return classes;
}

std::string class_of(UChar32 c) {
  const std::string text = "a" + to_utf8({c}) + "b";
  const auto words = basic_words(text, /*lowercase=*/false);
  if (words == std::vector<std::string>{"ab"}) return "dropped";
  if (words == std::vector<std::string>{"a", "b"}) return "space";
  if (words.size() == 3) return "isolated";
  return basic_words(text, /*lowercase=*/true) == std::vector<std::string>{"ab"} ? "accent" : "kept";
}

TEST(BasicWords, EveryCodePointIsTreatedAsInTheReference) {
  const auto expected = reference_classes();
  int differences = 0;
  for (UChar32 c = 0; c < kCodePoints && differences < 10; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    const std::string actual = class_of(c);
    EXPECT_EQ(actual, expected[static_cast<std::size_t>(c)]) << "code point " << std::hex << c;
    differences += actual != expected[static_cast<std::size_t>(c)];
  }
}

TEST(BasicWords, LowerCaseStripsAccentsOfComposedLetters) {
  EXPECT_EQ(basic_words("Étude Ñandú", true), (std::vector<std::string>{"etude", "nandu"}));
  EXPECT_EQ(basic_words("Étude", false), (std::vector<std::string>{"Étude"}));
}

TEST(BasicWords, SigmaAtTheEndOfAWordHasTheFormOfTheMiddle) {
  EXPECT_EQ(basic_words("ΟΔΟΣ", true), (std::vector<std::string>{"οδοσ"}));
}

TEST(BasicWords, InvalidUtf8IsDroppedLikeTheReplacementCharacter) {
  EXPECT_EQ(basic_words("a\xFF\xC3 b\xE2\x82", true), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(basic_words("\xED\xA0\x80x", true), (std::vector<std::string>{"x"}));  // a surrogate
}

}  // namespace
}  // namespace blip2
