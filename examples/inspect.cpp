// Shows what is in a weights file, a model folder or a run: names, dtypes, shapes and totals, without reading weights.
#include <iostream>

#include "blip2/checkpoint/inspection.h"
#include "blip2/core/error.h"
#include "blip2/models/run_folder.h"
#include "command_line.h"

int main(int argc, char** argv) {
  CLI::App app{"Shows what is in a safetensors, .bin or .pth file, a model folder or a run; runs nothing in it",
               "inspect"};
  std::string path;
  bool json = false;
  app.add_option("path", path, "File or folder")->required();
  app.add_flag("--json", json, "One JSON object");
  if (const auto end = blip2::parse_command_line(app, argc, argv)) return *end;
  return blip2::run_program("inspect", [&] {
    const blip2::Inspection inspection = blip2::inspect_weights(blip2::weights_folder(path));
    if (json) {
      using Errors = nlohmann::json::error_handler_t;
      std::cout << blip2::inspection_json(inspection).dump(-1, ' ', false, Errors::replace) << "\n";
    } else {
      std::cout << blip2::inspection_text(inspection);
    }
    return 0;
  });
}
