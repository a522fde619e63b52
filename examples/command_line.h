// How every program reads its command line: a mistake is one sentence, like every other failure.
#pragma once

#include <CLI/CLI.hpp>
#include <iostream>
#include <optional>
#include <string>

#include "blip2/models/lora_adapter.h"

namespace blip2 {

/** Reads the arguments. Gives the exit code where the program is to end: 0 after --help, 2 after a mistake. */
inline std::optional<int> parse_command_line(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
    return std::nullopt;
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    std::cerr << app.get_name() << ": " << error.what() << " (--help shows the options)" << std::endl;
    return 2;
  }
}

/** For the check() of an option that takes a path: much of the system takes an empty one for the working folder. */
inline CLI::Validator not_empty() {
  return {[](const std::string& path) { return path.empty() ? std::string("is empty: expected a path") : ""; }, ""};
}

/** `--quantize NAME`, for inference_format(). */
inline void add_quantize_option(CLI::App& app, std::string& quantize) {
  app.add_option("--quantize", quantize,
                 "none: weights as the files hold them; int8: rounded, smaller and faster; int8-fast: what the image "
                 "encoder multiplies too, faster still; int4: the language model smaller still, rounded more")
      ->capture_default_str();
}

/** `--lora FOLDER`, any number of times. */
inline CLI::Option* add_lora_option(CLI::App& app, LoraFolders& folders) {
  return app.add_option("--lora", folders, "PEFT adapter to merge into the weights; may be given several times")
      ->allow_extra_args(false);
}

}  // namespace blip2
