// The program convert: there and back over files, and how it ends on mistakes.
#include <gmock/gmock.h>

#include "programs/run_program.h"
#include "programs/tiny_world.h"

namespace blip2 {
namespace {

using testing::HasSubstr;

TEST(ProgramConvert, ALavisCheckpointAndAFolderTurnIntoEachOther) {
  TinyWorld& world = TinyWorld::instance();
  const std::string model = std::string(BLIP2_TEST_DATA) + "/cases/opt_sharded_bf16/model";
  const std::string file = world.file("opt.pth"), small = world.file("opt_small.pth"), folder = world.file("opt_back");
  ASSERT_TRUE(succeeded(run("convert", {"--from", model, "--to", file})));
  ASSERT_TRUE(succeeded(run("convert", {"--from", model, "--to", small, "--without-frozen"})));
  EXPECT_LT(read_bytes(small).size(), read_bytes(file).size());
  const Outcome listed = run("inspect", {file});
  EXPECT_THAT(listed.output, HasSubstr("opt_proj.weight  bfloat16 [40, 32]"));
  EXPECT_THAT(listed.output, HasSubstr("Qformer.bert.embeddings.position_ids  int64 [1, 40]"));

  const Outcome back = run("convert", {"--from", small, "--to", folder, "--like", model});
  ASSERT_TRUE(succeeded(back));
  EXPECT_THAT(back.output, HasSubstr(" of them from the folders and files named\n"));
  const auto caption = [&](const std::string& which) {
    return run("caption", {"--model", which, "--json", world.picture(0)});
  };
  ASSERT_TRUE(succeeded(caption(folder)));
  EXPECT_EQ(caption(folder).output, caption(model).output);
}

TEST(ProgramConvert, AMistakeIsOneSentence) {
  TinyWorld& world = TinyWorld::instance();
  const std::string model = std::string(BLIP2_TEST_DATA) + "/cases/itm_tiny/model", file = world.file("itm.pth");
  ASSERT_TRUE(succeeded(run("convert", {"--from", model, "--to", file})));
  EXPECT_TRUE(
      failed(run("convert", {"--from", file, "--to", world.file("none")}), 2, "convert",
             "expected a folder with the tokenizer (bert-base-uncased in stage 1), or a folder like the result"));
  EXPECT_TRUE(failed(run("convert", {"--from", "none.pth", "--to", world.file("none")}), 2, "convert",
                     "cannot open 'none.pth': no such file"));
  EXPECT_TRUE(failed(run("convert", {"--from", world.stage2(), "--to", world.file("none.pth")}), 2, "convert",
                     "is a run of our trainers: export it as a Hugging Face folder first"));
  EXPECT_TRUE(failed(run("convert", {"--from", file}), 2, "convert", "--to is required"));
}

TEST(ProgramConvert, OptionsOfTheOtherDirectionAreRefused) {
  TinyWorld& world = TinyWorld::instance();
  const std::string model = std::string(BLIP2_TEST_DATA) + "/cases/itm_tiny/model", file = world.file("other.pth");
  ASSERT_TRUE(succeeded(run("convert", {"--from", model, "--to", file})));
  EXPECT_TRUE(failed(run("convert", {"--from", file, "--to", world.file("none"), "--like", model, "--without-frozen"}),
                     2, "convert",
                     "--without-frozen is for --from FOLDER, but a LAVIS checkpoint was given: leave it out"));
  EXPECT_TRUE(failed(run("convert", {"--from", file, "--to", world.file("none"), "--tokenizer", ""}), 2, "convert",
                     "--tokenizer: is empty: expected a path"));
  EXPECT_TRUE(failed(run("convert", {"--from", file, "--to", world.file("none.pth"), "--like", model}), 2, "convert",
                     "none.pth': a LAVIS checkpoint becomes a folder, expected a name without .pth"));
  for (const char* option : {"--like", "--config", "--vision", "--language-model", "--tokenizer"}) {
    EXPECT_TRUE(failed(run("convert", {"--from", model, "--to", world.file("none.pth"), option, model}), 2, "convert",
                       std::string(option) + " is for --from CHECKPOINT, but a folder was given: leave it out"));
  }
  EXPECT_TRUE(failed(run("convert", {"--from", model, "--to", file}), 2, "convert",
                     "will not replace the file '" + file + "': remove it first, or choose another name"));
}

}  // namespace
}  // namespace blip2
