// Examines the demo's models on held-out pictures, writes the report and prints one line of JSON.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>

#include "blip2/core/atomic_file.h"
#include "blip2/core/error.h"
#include "blip2/eval/demo_evaluation.h"

namespace {

std::string percent(double share) {
  return std::to_string(std::llround(1000 * share) / 10) + "." + std::to_string(std::llround(1000 * share) % 10) + " %";
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Examines the demo's models on held-out pictures", "evaluate_demo"};
  blip2::DemoEvaluationOptions options;
  std::string report_file, title = "blip2 demo";
  double seconds_before = 0;
  app.add_option("--stage1", options.stage1, "Run folder of train_stage1")->required();
  app.add_option("--stage2", options.stage2, "Run folder of train_stage2")->required();
  app.add_option("--language-model", options.language_model, "Run folder of train_language_model")->required();
  app.add_option("--annotations", options.annotations, "Held-out pictures")->required();
  app.add_option("--report", report_file, "HTML file to write")->required();
  app.add_option("--title", title, "Title of the report")->capture_default_str();
  app.add_option("--seconds-before", seconds_before, "Time that training took, added to the printed time");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return blip2::run_program("evaluate_demo", [&] {
    const auto start = std::chrono::steady_clock::now();
    blip2::DemoEvaluation result = blip2::evaluate_demo(options);
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    const double seconds = seconds_before + taken.count();
    const double recall = result.reranked.image_to_text.recall_at_1;
    blip2::Report& report = result.report;
    report.title = title;
    report.figures = {{"both objects named", percent(result.naming.both_objects)},
                      {"at least one object named", percent(result.naming.at_least_one_object)},
                      {"image-to-text recall@1", percent(recall)},
                      {"the same, contrast alone", percent(result.by_contrast.image_to_text.recall_at_1)},
                      {"text-to-image recall@1, contrast", percent(result.by_contrast.text_to_image.recall_at_1)},
                      {"training and evaluation", std::to_string(std::llround(seconds)) + " s"}};
    report.remarks = {"All " + std::to_string(result.pictures) +
                      " pictures are held out: no training picture shows the two objects of any of them together. "
                      "Chance for recall@1 is " +
                      percent(1.0 / static_cast<double>(result.pictures)) + "."};
    blip2::write_file_atomically(report_file, blip2::report_html(report));
    std::cout << nlohmann::ordered_json{{"seconds", std::round(10 * seconds) / 10},
                                        {"recall_at_1", recall},
                                        {"both_objects", result.naming.both_objects},
                                        {"at_least_one_object", result.naming.at_least_one_object},
                                        {"report", report_file}}
              << std::endl;
    return 0;
  });
}
