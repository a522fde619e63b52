// Reads the reference lines of tests/data/text, and reads and writes the small files that a test makes up.
#pragma once

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace blip2 {

inline std::filesystem::path text_data(const std::string& name) {
  return std::filesystem::path(BLIP2_TEST_DATA) / "text" / name;
}

inline std::vector<nlohmann::json> reference_lines(const std::filesystem::path& path) {
  std::ifstream stream(path);
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

/** Composing mark after mark: the library takes the longest sequence it knows, Hugging Face the grapheme cluster. */
inline bool has_composed_marks(const std::string& text) {
  return text.find("e\u0301\u0302\u0303\u0304") != std::string::npos;
}
/** U+0085 is white space to Hugging Face's T5 class alone. */
inline bool has_next_line(const std::string& text) {
  return text.find("\u0085") != std::string::npos;
}

inline std::filesystem::path write_text(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(stream), {});
}

}  // namespace blip2
