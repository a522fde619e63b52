// The pickle machine: what each opcode does, and that nothing makes it run, hang or fill the memory.
#include <gtest/gtest.h>

#include <chrono>
#include <limits>

#include "blip2/checkpoint/torch_archive.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "support/torch_file.h"

namespace blip2 {
namespace {

using Kind = TorchValue::Kind;

// What a file makes of a pickle that leaves one value.
TorchValue value_of(const std::string& opcodes) {
  const TemporaryFolder folder;
  return TorchArchive(write_file(folder.path() / "written.pt", zip_bytes(torch_records(opcodes)))).content();
}

std::string repeated(const std::string& opcodes, int count) {
  std::string all;
  for (int i = 0; i < count; ++i) all += opcodes;
  return all;
}

TEST(Pickle, PlainValuesComeOut) {
  EXPECT_EQ(value_of("N").kind, Kind::kNone);
  EXPECT_EQ(value_of("\x88").kind, Kind::kBool);
  EXPECT_EQ(value_of("\x88").integer, 1);
  EXPECT_EQ(value_of("\x89").integer, 0);
  EXPECT_EQ(value_of("K\xff").integer, 255);
  EXPECT_EQ(value_of("M\xff\xfe").integer, 0xfeff);
  EXPECT_EQ(value_of("J\xfe\xff\xff\xff").integer, -2);
  EXPECT_EQ(value_of(std::string("\x8a\0", 2)).integer, 0);
  EXPECT_EQ(value_of("\x8a\x01\x80").integer, -128);
  EXPECT_EQ(value_of(std::string("\x8a\x02\x80\x00", 4)).integer, 128);
  EXPECT_EQ(value_of(pickled(std::numeric_limits<std::int64_t>::min())).integer,
            std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(value_of(std::string("G\x3f\xb9\x99\x99\x99\x99\x99\x9a")).real, 0.1);
  EXPECT_EQ(value_of(pickled("\xc3\xa9")).text, "\xc3\xa9");
  EXPECT_EQ(value_of("U\x03"
                     "abc")
                .text,
            "abc");
  EXPECT_EQ(value_of("ctorch\nbfloat16\n").text, "torch.bfloat16");
  EXPECT_EQ(value_of("ctorch\ndevice\n(" + pickled("cpu") + "tR").text, "cpu");
}

TEST(Pickle, ContainersComeOut) {
  const TorchValue list = value_of("]K\1a(K\2K\3e");
  ASSERT_EQ(list.kind, Kind::kList);
  ASSERT_EQ(list.items.size(), 3U);
  EXPECT_EQ(list.items[2].integer, 3);
  const TorchValue tuple = value_of("K\1K\2\x86");
  ASSERT_EQ(tuple.kind, Kind::kTuple);
  EXPECT_EQ(tuple.items.at(1).integer, 2);
  EXPECT_EQ(value_of("(K\1K\2K\3K\4t").items.size(), 4U);
  EXPECT_EQ(value_of("K\1K\2K\3\x87").items.at(0).integer, 1);
  EXPECT_EQ(value_of("ctorch\nSize\n(K\2K\3t\x85R").items.at(1).integer, 3);
  const TorchValue dict = value_of("}" + pickled("a") + "K\1s(K\7K\2u");
  ASSERT_EQ(dict.kind, Kind::kDict);
  EXPECT_EQ(dict.find("a")->integer, 1);
  EXPECT_EQ(dict.find("7"), nullptr);  // an integer key
  EXPECT_EQ(dict.keys.at(1).integer, 7);
  EXPECT_EQ(dict.items.at(1).integer, 2);
}

TEST(Pickle, AttributesOfAStateDictArePassedOver) {
  const TorchValue dict = value_of("ccollections\nOrderedDict\n)R(" + pickled("a") + "K\1u" +
                                   pickled_dict({{"_metadata", "ccollections\nOrderedDict\n)R"}}) + "b");
  ASSERT_EQ(dict.kind, Kind::kDict);
  ASSERT_EQ(dict.keys.size(), 1U);
  EXPECT_EQ(dict.find("a")->integer, 1);
}

TEST(Pickle, RememberedValuesAreSharedAndStillGrow) {
  const TorchValue pair = value_of("]q\5h\5K\1a\x86");
  ASSERT_EQ(pair.items.size(), 2U);
  EXPECT_EQ(pair.items[0].items.at(0).integer, 1);
  EXPECT_EQ(pair.items[1].items.at(0).integer, 1);
  const std::string place = little_endian(70000, 4);
  EXPECT_EQ(value_of("K\11r" + place + "j" + place + "\x86").items.at(1).integer, 9);
}

TEST(Pickle, EveryMisuseHasItsSentence) {
  const std::vector<std::pair<std::string, std::string>> sentences{
      {"", "the pickle takes a value that is not there"},
      {"K\1K\2", "the pickle ends with more than one value"},
      {"K\1(", "the pickle takes a value that is not there"},
      {"t", "the pickle goes back to a mark that was never set"},
      {"K\1(\x85", "the pickle takes a value that is not there"},
      {"K\1K\2a", "the pickle appends to an integer"},
      {"]K\1K\2s", "the pickle sets an item of a list"},
      {"}(K\1u", "the pickle sets a key without a value"},
      {"})K\1s", "the keys of a dict must be texts or integers, found a tuple"},
      {"}K\1K\2sK\1K\3s", "a dict holds the key '1' twice"},
      {"]}b", "the pickle sets attributes of a list"},
      {"}]b", "the pickle sets attributes from a list"},
      {"h\1", "the pickle uses the value 1 before it is made"},
      {std::string("\x8a\x09") + std::string(9, '\1'), "the pickle holds an integer of 9 bytes, the limit is 8"},
      {"X\1" + std::string(3, '\0') + "\xff", "the pickle holds a text that is not UTF-8"},
      {"X" + little_endian(0xfffffff0, 4), "the pickle ends too early"},
      {"\x95", "the pickle holds the opcode 0x95 at byte "},
      {"iposix\nsystem\n", "the pickle holds the opcode 0x69 at byte "},
      {"(cos\nsystem\n", "its pickle names 'os.system'"},
      {"ccollections\nOrderedDict\nK\1\x85R", "the pickle calls 'collections.OrderedDict' with arguments"},
      {"ccollections\nOrderedDict\n)\x81", "the pickle holds the opcode 0x81"},
  };
  for (const auto& [opcodes, sentence] : sentences) {
    SCOPED_TRACE(sentence);
    EXPECT_USER_ERROR(value_of(opcodes), sentence);
  }
}

TEST(Pickle, WhatWouldNeverEndIsRefusedAtOnce) {
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_USER_ERROR(value_of("]q\1h\1a"), "contains itself");
  EXPECT_USER_ERROR(value_of("}q\1" + pickled("a") + "h\1s"), "contains itself");
  EXPECT_USER_ERROR(value_of("]q\1h\1\x85"
                             "a"),
                    "contains itself");
  EXPECT_EQ(value_of("N" + repeated("\x85", 63)).items.size(), 1U);
  EXPECT_USER_ERROR(value_of("N" + repeated("\x85", 64)), "nested more than 64 levels deep");
  // First met near the top, used again far below it.
  EXPECT_USER_ERROR(value_of("N" + repeated("\x85", 40) + "q\1h\1" + repeated("\x85", 40) + "\x86"),
                    "nested more than 64 levels deep");
  // Each tuple holds the last one eleven times: 11^8 values.
  EXPECT_USER_ERROR(value_of("N" + repeated("q\1(" + repeated("h\1", 10) + "t\x86", 8)),
                    "the pickle stands for more than 100 MB of values");
  // A long text, remembered and used often.
  EXPECT_USER_ERROR(value_of("(" + pickled(std::string(100000, 'x')) + "q\1" + repeated("h\1", 1000) + "t"),
                    "the pickle stands for more than 100 MB of values");
  EXPECT_USER_ERROR(value_of("(" + std::string(2'000'001, 'N') + "t"), "the pickle makes more than 2000000 values");
  EXPECT_USER_ERROR(value_of(std::string(2'000'001, '(')), "the pickle sets too many marks");
  EXPECT_USER_ERROR(value_of("Nq\1" + repeated("h\1", 2'000'000)), "the pickle stacks too many values");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

}  // namespace
}  // namespace blip2
