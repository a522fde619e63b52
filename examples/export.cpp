// Writes a run or a published folder as one folder that every program here and Python's from_pretrained open: what was
// trained and what stayed frozen together.
#include <iostream>

#include "blip2/core/error.h"
#include "blip2/models/published_folder.h"
#include "blip2/models/published_target.h"
#include "blip2/models/published_writer.h"
#include "blip2/models/source_folders.h"
#include "command_line.h"

int main(int argc, char** argv) {
  CLI::App app{"Writes a model as a folder in Hugging Face format", "export"};
  std::string model, output, dtype = "float32";
  blip2::ExportOptions options;
  app.add_option("--model", model, "Run folder of train_stage1 or train_stage2, or a published BLIP-2 folder")
      ->check(blip2::not_empty())
      ->required();
  app.add_option("--output", output, "Folder to write; an older model there is replaced as a whole")
      ->check(blip2::not_empty())
      ->required();
  app.add_option("--dtype", dtype, "float32, bfloat16 or float16")->capture_default_str();
  app.add_option("--shard-size", options.largest_file, "Larger models become several files, e.g. 500MB")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/true))
      ->check(CLI::Range(std::uint64_t{1000}, std::uint64_t{1} << 60))
      ->capture_default_str();
  if (const auto end = blip2::parse_command_line(app, argc, argv)) return *end;
  return blip2::run_program("export", [&] {
    options.dtype = blip2::export_dtype(dtype);
    const bool is_retrieval = blip2::is_retrieval_model(model);
    // Both before a large model is read.
    blip2::check_keeps_sources(output, model);
    blip2::check_published_target(output);
    constexpr auto kFormat = blip2::WeightFormat::kAsStored;  // the same values in less memory
    const auto notes = is_retrieval
                           ? blip2::save_published(blip2::load_representation_model(model, kFormat), output, options)
                           : blip2::save_published(blip2::load_generator_model(model, kFormat), output, options);
    for (const std::string& note : notes) std::cerr << "export: note: " << note << "\n";
    std::cout << output << ": " << (is_retrieval ? "Blip2ForImageTextRetrieval" : "Blip2ForConditionalGeneration")
              << ", " << dtype << "\n";
    return 0;
  });
}
