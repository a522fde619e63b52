// A line chart as inline SVG.
#pragma once

#include <string>

#include "blip2/eval/report.h"

namespace blip2 {

std::string svg_chart(const Chart& chart);

/** `text` with the characters escaped that HTML and SVG give a meaning. */
std::string escape_html(const std::string& text);

/** Few digits, no exponent where none is needed: "4.2", "0.031", "1e-05". */
std::string short_number(double value);

}  // namespace blip2
