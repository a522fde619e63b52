// A small folder of stamps, so that tests do not need the Debian package: coloured blocks with a transparent margin.
#pragma once

#include <array>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <opencv2/imgcodecs.hpp>
#include <string>
#include <vector>

#include "support/temporary_folder.h"

namespace blip2 {

class StampFolder {
 public:
  const std::filesystem::path& path() const { return folder_.path(); }

  void add_text(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((path() / name).parent_path());
    std::ofstream(path() / (name + ".txt")) << text;
  }

  /** A block of one RGB colour, `height` x `width` inside a transparent margin of 3 pixels. */
  void add_picture(const std::string& name, std::array<int, 3> color, int height = 10, int width = 14) const {
    std::filesystem::create_directories((path() / name).parent_path());
    cv::Mat picture(height + 6, width + 6, CV_8UC4, cv::Scalar(0, 255, 0, 0));
    picture(cv::Rect(3, 3, width, height)).setTo(cv::Scalar(color[2], color[1], color[0], 255));
    cv::imwrite((path() / (name + ".png")).string(), picture);
  }

  void add(const std::string& name, const std::string& text, std::array<int, 3> color = {200, 30, 40}) const {
    add_text(name, text);
    add_picture(name, color);
  }

  std::filesystem::path write_list(const nlohmann::json& list) const {
    std::ofstream(path() / "list.json") << list.dump();
    return path() / "list.json";
  }

 private:
  TemporaryFolder folder_;
};

}  // namespace blip2
