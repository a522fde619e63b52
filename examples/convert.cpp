// Converts checkpoints between LAVIS (`.pth`) and folders in Hugging Face format, without changing a bit.
#include <filesystem>
#include <iostream>

#include "blip2/core/error.h"
#include "blip2/models/lavis_checkpoint.h"
#include "command_line.h"

namespace {

namespace fs = std::filesystem;
using blip2::UserError;

constexpr const char* kSources[] = {"--like", "--config", "--vision", "--language-model", "--tokenizer"};

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

/** A LAVIS checkpoint becomes a folder. */
void check_to_folder(const CLI::App& app, const fs::path& to) {
  if (app.count("--without-frozen") != 0) {
    throw UserError("--without-frozen is for --from FOLDER, but a LAVIS checkpoint was given: leave it out");
  }
  const std::string ending = to.extension().string();
  for (const char* other : {".pth", ".pt", ".bin", ".safetensors"}) {
    if (ending == other) {
      throw UserError("--to '" + to.string() + "': a LAVIS checkpoint becomes a folder, expected a name without " +
                      ending);
    }
  }
}

/** A folder becomes a LAVIS checkpoint, for which no other place is read. */
void check_to_checkpoint(const CLI::App& app) {
  for (const char* source : kSources) {
    if (app.count(source) == 0) continue;
    throw UserError(std::string(source) + " is for --from CHECKPOINT, but a folder was given: leave it out");
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Converts a LAVIS checkpoint to a folder in Hugging Face format, or such a folder to a LAVIS checkpoint. LAVIS's "
      "files lack the frozen parts: name a folder like the result, or where each part lies",
      "convert"};
  std::string from, to;
  blip2::LavisSources sources;
  bool without_frozen = false;
  app.add_option("--from", from, "LAVIS checkpoint (blip2_pretrained*.pth, eva_vit_g.pth...), or a published folder")
      ->check(blip2::not_empty())
      ->required();
  app.add_option("--to", to, "Folder, or new .pth file, to write")->check(blip2::not_empty())->required();
  app.add_option("--like", sources.like, "Published folder with the config, tokenizer and frozen parts of the result")
      ->check(blip2::not_empty());
  app.add_option("--config", sources.config, "config.json with the sizes of the result; else --like's or the published")
      ->check(blip2::not_empty());
  app.add_option("--vision", sources.vision, "Image encoder: eva_vit_g.pth, clip_vit_L.pth or a converted folder")
      ->check(blip2::not_empty());
  app.add_option("--language-model", sources.language_model, "OPT or FlanT5 folder in Hugging Face format")
      ->check(blip2::not_empty());
  app.add_option("--tokenizer", sources.tokenizer, "Folder with the tokenizer; else the language model's or --like's")
      ->check(blip2::not_empty());
  app.add_flag("--without-frozen", without_frozen,
               "To LAVIS: only what BLIP-2 trained, as LAVIS saves it; not the image encoder and language model");
  if (const auto end = blip2::parse_command_line(app, argc, argv)) return *end;
  return blip2::run_program("convert", [&] {
    std::error_code ignored;
    if (is_folder(from)) {
      check_to_checkpoint(app);
      const auto done = blip2::folder_to_lavis(from, to, !without_frozen);
      std::cout << to << ": " << done.tensors << " tensors\n";
    } else {
      if (fs::exists(fs::status(from, ignored))) check_to_folder(app, to);
      const auto done = blip2::lavis_to_folder(from, to, sources);
      std::cout << to << ": " << done.tensors << " tensors, " << done.from_sources
                << " of them from the folders and files named\n";
    }
    return 0;
  });
}
