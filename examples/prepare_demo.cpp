// Makes the demo's data set from the stamps of the Debian package tuxpaint-stamps-default.
#include <chrono>
#include <iostream>
#include <string>

#include "blip2/core/error.h"
#include "blip2/data/demo_set.h"
#include "command_line.h"

int main(int argc, char** argv) {
  std::string stamps_folder = "/usr/share/tuxpaint/stamps", list = "configs/demo/stamps.json", output;
  blip2::DemoSetOptions options;
  std::int64_t threads = 2;
  CLI::App app("Composes captioned pictures for the demo: one or two stamps each, with held-out pairs", "prepare_demo");
  app.add_option("--stamps-folder", stamps_folder, "folder of Tux Paint's stamps")->capture_default_str();
  app.add_option("--list", list, "JSON list of the stamps to use, the most distinct first")->capture_default_str();
  app.add_option("--output", output, "folder to write")->required();
  app.add_option("--seed", options.seed, "seed of everything random")->capture_default_str();
  app.add_option("--stamps", options.stamps, "how many stamps of the list to use")->capture_default_str();
  app.add_option("--single", options.single, "training pictures with one stamp")->capture_default_str();
  app.add_option("--train", options.train, "training pictures with two stamps")->capture_default_str();
  app.add_option("--held-out", options.held_out, "pictures with pairs that training never shows")
      ->capture_default_str();
  app.add_option("--image-size", options.scene.image_size, "side of a picture in pixels")->capture_default_str();
  app.add_option("--threads", threads, "threads that draw; the result is the same for any number")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app.add_flag("--shuffle-captions", options.shuffle_captions, "control: training captions of other pictures");
  if (const auto end = blip2::parse_command_line(app, argc, argv)) return *end;
  return blip2::run_program("prepare_demo", [&] {
    const auto start = std::chrono::steady_clock::now();
    const auto stamps = blip2::read_stamp_list(list, stamps_folder);
    const auto report = [](const std::string& split, std::int64_t pictures) {
      std::cout << split << ": " << pictures << " pictures" << std::endl;
    };
    if (!blip2::write_demo_set(stamps, options, output, threads, report)) {
      std::cout << output << " is complete already: nothing to do" << std::endl;
      return 0;
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    std::cout << "wrote " << output << " in " << static_cast<int>(seconds.count() * 10) / 10.0 << " s" << std::endl;
    return 0;
  });
}
