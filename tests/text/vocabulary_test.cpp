#include "blip2/text/vocabulary.h"

#include <fstream>

#include "blip2/text/wordpiece.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace blip2 {
namespace {

using Words = std::vector<std::string>;

const Words kTexts = {"Cab, cab", "bad!", "bad bad ace"};

TEST(BuildWordPieceVocabulary, HasSpecialTokensThenCharactersThenWordsByFrequency) {
  EXPECT_EQ(build_wordpiece_vocabulary(kTexts, 100),
            (Words{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "!",   ",",   "a",   "b",   "c",   "d",
                   "e",     "##!",   "##,",   "##a",   "##b",    "##c", "##d", "##e", "bad", "cab", "ace"}));
}

TEST(BuildWordPieceVocabulary, EqualCountsAreInOrderWhateverTheOrderOfTexts) {
  const auto a = build_wordpiece_vocabulary({"zoo ant zoo ant mid"}, 100);
  EXPECT_EQ(a, build_wordpiece_vocabulary({"mid", "ant zoo", "zoo ant"}, 100));
  EXPECT_EQ(Words(a.end() - 3, a.end()), (Words{"ant", "zoo", "mid"}));
}

TEST(BuildWordPieceVocabulary, StopsAtItsSize) {
  const auto vocabulary = build_wordpiece_vocabulary(kTexts, 20);
  EXPECT_EQ(vocabulary.size(), 20);
  EXPECT_EQ(vocabulary.back(), "bad");
}

TEST(BuildWordPieceVocabulary, TooSmallASizeForTheCharactersIsRefused) {
  EXPECT_USER_ERROR(build_wordpiece_vocabulary(kTexts, 18),
                    "a WordPiece vocabulary of these texts needs at least 19 tokens for its characters, got 18");
}

TEST(WriteWordPieceVocabulary, ReadsBackAndLeavesNoTextOfItsSourceUnknown) {
  const TemporaryFolder folder;
  const auto vocabulary = build_wordpiece_vocabulary({"Ein Café, 咖啡 αβ"}, 100);
  write_wordpiece_vocabulary(vocabulary, folder.path() / "new");
  const WordPieceTokenizer tokenizer(folder.path() / "new" / "vocab.txt");
  EXPECT_EQ(tokenizer.padding_id(), 0);
  EXPECT_EQ(tokenizer.cls_id(), 2);
  EXPECT_EQ(tokenizer.sep_id(), 3);
  EXPECT_EQ(tokenizer.decoder_id(), static_cast<std::int64_t>(vocabulary.size()));
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("Ein Café, 咖啡 αβ")), "ein cafe, 咖 啡 αβ");
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("fein")), "fein");
}

TEST(WriteWordPieceVocabulary, AFolderThatCannotBeMadeIsTheWorldsFault) {
  const TemporaryFolder folder;
  std::ofstream(folder.path() / "file") << "x";
  EXPECT_WORLD_ERROR(write_wordpiece_vocabulary({"a"}, folder.path() / "file" / "below"), "cannot make the folder");
}

}  // namespace
}  // namespace blip2
