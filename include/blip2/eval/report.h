// One self-contained HTML page about a pair of runs: loss curves, captions of held-out pictures, retrieval, attention.
// Pictures are embedded, curves are inline SVG; nothing is loaded from anywhere.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "blip2/image/image.h"

namespace blip2 {

/** One line of a chart: values by step. */
struct Curve {
  std::string name;
  std::vector<double> steps, values;
};

struct Chart {
  std::string title;
  std::vector<Curve> curves;
};

struct CaptionExample {
  Image image;
  std::string reference, generated;
  bool right = false;  // all objects named
};

/** A picture and the texts that it finds most alike, best first. */
struct RetrievalExample {
  Image image;
  std::string reference;
  std::vector<std::pair<std::string, double>> found;
};

/** A picture beside where the queries look: one weight per patch, row by row, for each map. */
struct AttentionExample {
  Image image;
  std::string caption;
  std::vector<std::pair<std::string, std::vector<double>>> maps;  // name, rows * rows weights
};

struct Report {
  std::string title;
  std::vector<std::pair<std::string, std::string>> figures;  // name, value
  std::vector<std::string> remarks;
  std::vector<Chart> charts;
  std::vector<CaptionExample> captions;
  std::vector<RetrievalExample> retrieval;
  std::vector<AttentionExample> attention;
};

/** The page. Every text is escaped. */
std::string report_html(const Report& report);

/** The curves of a run's log.jsonl: total loss and its parts, averaged over `window` steps. Throws UserError. */
std::vector<Curve> loss_curves(const std::string& log_file, std::size_t window);

}  // namespace blip2
