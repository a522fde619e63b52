// Makes a WordPiece vocabulary from text, for a Q-Former that is trained from scratch.
#include <iostream>

#include "blip2/core/error.h"
#include "blip2/core/read_file.h"
#include "blip2/text/vocabulary.h"
#include "command_line.h"

int main(int argc, char** argv) {
  CLI::App app{"Makes a WordPiece vocabulary from text", "build_vocabulary"};
  std::string text, output;
  std::int64_t size = 30522;
  app.add_option("--text", text, "File with one text a line")->required();
  app.add_option("--output", output, "Folder for vocab.txt")->required();
  app.add_option("--size", size, "Most tokens")->capture_default_str();
  if (const auto end = blip2::parse_command_line(app, argc, argv)) return *end;
  return blip2::run_program("build_vocabulary", [&] {
    std::ifstream stream = blip2::open_file(text);
    std::vector<std::string> lines;
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    if (lines.empty()) throw blip2::UserError("'" + text + "' holds no text");
    const auto vocabulary = blip2::build_wordpiece_vocabulary(lines, size);
    blip2::write_wordpiece_vocabulary(vocabulary, output);
    std::cout << vocabulary.size() << " tokens in " << output << "/vocab.txt" << std::endl;
    return 0;
  });
}
