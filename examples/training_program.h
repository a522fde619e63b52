// What the three trainers' command lines share.
#pragma once

#include <string>
#include <vector>

#include "blip2/core/config.h"
#include "blip2/core/error.h"
#include "blip2/train/run_folder_training.h"
#include "command_line.h"

namespace blip2 {

/** `NAME --config FILE --output DIR [--fresh [--overwrite]] [a.b.c=value ...]`, then trains what `Task` says. */
template <typename Options, typename Task>
int training_program(const std::string& name, const std::string& purpose, int argc, char** argv) {
  CLI::App app{purpose, name};
  std::string config, output;
  std::vector<std::string> overrides;
  bool fresh = false, overwrite = false;
  app.add_option("--config", config, "Run config, JSON (see configs/)")->check(not_empty())->required();
  app.add_option("--output", output, "Folder of the run; a run that is there is resumed")
      ->check(not_empty())
      ->required();
  app.add_flag("--fresh", fresh, "Start over; refused where a run exists");
  app.add_flag("--overwrite", overwrite, "With --fresh: delete the run that is there");
  app.add_option("overrides", overrides, "Values over the config's: train.steps=100 data.batch_size=32 ...");
  if (const auto end = parse_command_line(app, argc, argv)) return *end;
  return run_program(name, [&] {
    Task task(load_config<Options>(config, overrides));
    return train_in_folder(task, {output, fresh, overwrite});
  });
}

}  // namespace blip2
