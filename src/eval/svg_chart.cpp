#include "eval/svg_chart.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <limits>
#include <vector>

namespace blip2 {
namespace {

constexpr double kWidth = 460, kHeight = 240, kLeft = 48, kRight = 12, kTop = 12, kBottom = 28;
// Distinct for the colour-blind (Okabe and Ito).
constexpr std::array<const char*, 5> kColours = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"};

struct Frame {
  double first = 0, last = 1, low = 0, high = 1;

  double x(double step) const { return kLeft + (step - first) / (last - first) * (kWidth - kLeft - kRight); }
  double y(double value) const { return kHeight - kBottom - (value - low) / (high - low) * (kHeight - kTop - kBottom); }
};

Frame frame_of(const Chart& chart) {
  const double infinity = std::numeric_limits<double>::infinity();
  Frame frame{infinity, -infinity, 0, -infinity};
  for (const auto& curve : chart.curves) {
    for (const double step : curve.steps) {
      frame.first = std::min(frame.first, step);
      frame.last = std::max(frame.last, step);
    }
    for (const double value : curve.values) {
      frame.low = std::min(frame.low, value);
      frame.high = std::max(frame.high, value);
    }
  }
  if (!(frame.last > frame.first)) frame = {0, 1, frame.low, frame.high};
  if (!(frame.high > frame.low)) frame.high = frame.low + 1;
  return frame;
}

std::string coordinate(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.1f", value);
  return buffer;
}

/** Multiples of 1, 2 or 5 times a power of ten between the two, at most six. */
std::vector<double> round_ticks(double low, double high) {
  const double power = std::pow(10.0, std::floor(std::log10((high - low) / 5)));
  double width = power;
  for (const double factor : {2.0, 5.0, 10.0}) {
    if ((high - low) / width > 5) width = power * factor;
  }
  std::vector<double> ticks;
  for (double i = std::ceil(low / width); i * width <= high; ++i) ticks.push_back(i * width);
  return ticks;
}

std::string tick_label(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%g", value);
  return buffer;
}

std::string grid(const Frame& frame) {
  std::string svg;
  for (const double value : round_ticks(frame.low, frame.high)) {
    const std::string y = coordinate(frame.y(value));
    svg += "<line class=\"grid\" x1=\"" + coordinate(kLeft) + "\" x2=\"" + coordinate(kWidth - kRight) + "\" y1=\"" +
           y + "\" y2=\"" + y + "\"/><text x=\"" + coordinate(kLeft - 6) + "\" y=\"" + y +
           "\" text-anchor=\"end\" dominant-baseline=\"middle\">" + tick_label(value) + "</text>";
  }
  for (const double step : round_ticks(frame.first, frame.last)) {
    svg += "<text x=\"" + coordinate(frame.x(step)) + "\" y=\"" + coordinate(kHeight - 8) +
           "\" text-anchor=\"middle\">" + tick_label(step) + "</text>";
  }
  return svg;
}

}  // namespace

std::string escape_html(const std::string& text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

std::string short_number(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.3g", value);
  return buffer;
}

std::string svg_chart(const Chart& chart) {
  const Frame frame = frame_of(chart);
  std::string svg = "<figure><figcaption>" + escape_html(chart.title) + "</figcaption><svg viewBox=\"0 0 " +
                    coordinate(kWidth) + " " + coordinate(kHeight) + "\" role=\"img\">" + grid(frame);
  std::string legend;
  for (std::size_t i = 0; i < chart.curves.size(); ++i) {
    const Curve& curve = chart.curves[i];
    const std::string colour = kColours[i % kColours.size()];
    std::string points;
    for (std::size_t j = 0; j < std::min(curve.steps.size(), curve.values.size()); ++j) {
      points += coordinate(frame.x(curve.steps[j])) + "," + coordinate(frame.y(curve.values[j])) + " ";
    }
    svg += "<polyline fill=\"none\" stroke=\"" + colour + "\" stroke-width=\"1.6\" points=\"" + points + "\"/>";
    legend += "<span style=\"color:" + colour + "\">&#9644; " + escape_html(curve.name) + "</span> ";
  }
  return svg + "</svg><div class=\"legend\">" + legend + "</div></figure>";
}

}  // namespace blip2
