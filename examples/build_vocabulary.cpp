// Makes a WordPiece vocabulary from text, for a Q-Former that is trained from scratch.
#include <CLI/CLI.hpp>
#include <fstream>
#include <iostream>

#include "blip2/core/error.h"
#include "blip2/text/vocabulary.h"

int main(int argc, char** argv) {
  CLI::App app{"Makes a WordPiece vocabulary from text", "build_vocabulary"};
  std::string text, output;
  std::int64_t size = 30522;
  app.add_option("--text", text, "File with one text a line")->required();
  app.add_option("--output", output, "Folder for vocab.txt")->required();
  app.add_option("--size", size, "Most tokens")->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return blip2::run_program("build_vocabulary", [&] {
    std::ifstream stream(text);
    if (!stream) throw blip2::UserError("cannot open '" + text + "': no such readable file");
    std::vector<std::string> lines;
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    const auto vocabulary = blip2::build_wordpiece_vocabulary(lines, size);
    blip2::write_wordpiece_vocabulary(vocabulary, output);
    std::cout << vocabulary.size() << " tokens in " << output << "/vocab.txt" << std::endl;
    return 0;
  });
}
