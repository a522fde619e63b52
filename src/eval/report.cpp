#include "blip2/eval/report.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "blip2/core/error.h"
#include "blip2/core/read_file.h"
#include "eval/svg_chart.h"

namespace blip2 {
namespace {

constexpr const char* kStyle = R"(
:root{color-scheme:light dark;--line:#8884;--soft:#8881;--good:#009e73;--bad:#d55e00}
body{font:16px/1.5 system-ui,sans-serif;max-width:1100px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin:0 0 .5rem}h2{font-size:1.2rem;margin:2.5rem 0 .8rem;border-bottom:1px solid var(--line)}
.figures{display:flex;flex-wrap:wrap;gap:.8rem;margin:1rem 0}
.figure{background:var(--soft);border-radius:8px;padding:.6rem 1rem;min-width:8rem}
.figure b{display:block;font-size:1.5rem;line-height:1.2}.figure span{font-size:.85rem;opacity:.8}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(340px,1fr));gap:1.5rem}
figure{margin:0}figcaption{font-weight:600;margin-bottom:.3rem}svg{width:100%;height:auto}
svg text{font-size:11px;fill:currentColor;opacity:.75}.grid{stroke:var(--line);stroke-width:1}
.legend{font-size:.85rem}.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:1rem}
.card{background:var(--soft);border-radius:8px;padding:.6rem;font-size:.85rem;line-height:1.35}
img{image-rendering:pixelated;width:100%;border-radius:4px;display:block;margin-bottom:.4rem}
.good{color:var(--good)}.bad{color:var(--bad)}.reference{opacity:.75}
table{border-collapse:collapse;width:100%;font-size:.85rem}td{padding:.15rem .3rem;border-top:1px solid var(--line)}
.maps{display:grid;grid-template-columns:repeat(auto-fill,minmax(88px,1fr));gap:.6rem;margin-bottom:1.4rem}
.maps div{font-size:.75rem;text-align:center})";

std::string base64(const std::vector<std::uint8_t>& bytes) {
  constexpr const char* kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j) group = group << 8 | (j < count ? bytes[i + j] : 0U);
    for (std::size_t j = 0; j < 4; ++j) text += j <= count ? kDigits[group >> (18 - 6 * j) & 63U] : '=';
  }
  return text;
}

std::string img(const Image& image, const std::string& description) {
  return "<img alt=\"" + escape_html(description) + "\" src=\"data:image/png;base64," + base64(encode_png(image)) +
         "\">";
}

/** The picture with each patch as bright as its weight, the brightest at full light. */
Image shade(const Image& image, const std::vector<double>& weights) {
  Image result = image;
  const auto rows = static_cast<std::int64_t>(std::lround(std::sqrt(static_cast<double>(weights.size()))));
  const double largest = weights.empty() ? 1.0 : std::max(1e-12, *std::max_element(weights.begin(), weights.end()));
  for (std::int64_t y = 0; y < image.height; ++y) {
    for (std::int64_t x = 0; x < image.width; ++x) {
      const std::int64_t patch = y * rows / image.height * rows + x * rows / image.width;
      const double light = 0.12 + 0.88 * weights[static_cast<std::size_t>(patch)] / largest;
      for (std::int64_t c = 0; c < 3; ++c) {
        auto& value = result.pixels[static_cast<std::size_t>((y * image.width + x) * 3 + c)];
        value = static_cast<std::uint8_t>(std::lround(value * light));
      }
    }
  }
  return result;
}

std::string figures_html(const Report& report) {
  std::string html = "<div class=\"figures\">";
  for (const auto& [name, value] : report.figures) {
    html += "<div class=\"figure\"><b>" + escape_html(value) + "</b><span>" + escape_html(name) + "</span></div>";
  }
  html += "</div>";
  for (const auto& remark : report.remarks) html += "<p>" + escape_html(remark) + "</p>";
  return html;
}

std::string captions_html(const Report& report) {
  std::string html = "<h2>Captions of held-out pictures</h2><div class=\"cards\">";
  for (const auto& example : report.captions) {
    html += "<div class=\"card\">" + img(example.image, example.reference) + "<div class=\"reference\">" +
            escape_html(example.reference) + "</div><div class=\"" + (example.right ? "good" : "bad") + "\">" +
            (example.right ? "&#10003; " : "&#10007; ") + escape_html(example.generated) + "</div></div>";
  }
  return html + "</div>";
}

std::string retrieval_html(const Report& report) {
  std::string html =
      "<h2>Texts that a picture finds</h2><p>Ordered by contrastive similarity plus matching logit; green is the "
      "picture's own caption.</p><div class=\"cards\">";
  for (const auto& example : report.retrieval) {
    html += "<div class=\"card\">" + img(example.image, example.reference) + "<table>";
    for (const auto& [text, score] : example.found) {
      html += "<tr><td class=\"" + std::string(text == example.reference ? "good" : "") + "\">" + escape_html(text) +
              "</td><td>" + short_number(score) + "</td></tr>";
    }
    html += "</table></div>";
  }
  return html + "</div>";
}

std::string attention_html(const Report& report) {
  std::string html = "<h2>Where the queries look</h2>";
  for (const auto& example : report.attention) {
    html += "<div class=\"maps\"><div>" + img(example.image, example.caption) + escape_html(example.caption) + "</div>";
    for (const auto& [name, weights] : example.maps) {
      html += "<div>" + img(shade(example.image, weights), name) + escape_html(name) + "</div>";
    }
    html += "</div>";
  }
  return html;
}

}  // namespace

std::string report_html(const Report& report) {
  std::string html =
      "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width\"><title>" +
      escape_html(report.title) + "</title><style>" + kStyle + "</style><h1>" + escape_html(report.title) + "</h1>" +
      figures_html(report);
  html += "<h2>Losses</h2><div class=\"charts\">";
  for (const auto& chart : report.charts) html += svg_chart(chart);
  html += "</div>";
  if (!report.captions.empty()) html += captions_html(report);
  if (!report.retrieval.empty()) html += retrieval_html(report);
  if (!report.attention.empty()) html += attention_html(report);
  return html + "</html>\n";
}

std::vector<Curve> loss_curves(const std::string& log_file, std::size_t window) {
  std::ifstream stream = open_file(log_file);
  std::vector<Curve> curves;
  std::map<std::string, std::pair<std::size_t, std::size_t>> seen;  // name -> place among the curves, values so far
  auto add = [&](const std::string& name, double step, const nlohmann::json& value) {
    if (!value.is_number()) return;
    auto [found, is_new] = seen.emplace(name, std::pair(curves.size(), std::size_t{0}));
    if (is_new) curves.push_back({name, {}, {}});
    auto& [place, count] = found->second;
    Curve& curve = curves[place];
    if (count % window == 0) {
      curve.steps.push_back(step);
      curve.values.push_back(0);
    }
    curve.values.back() += (value.get<double>() - curve.values.back()) / static_cast<double>(count % window + 1);
    ++count;
  };
  for (std::string line; std::getline(stream, line);) {
    const nlohmann::json record = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!record.is_object() || !record.value("step", nlohmann::json()).is_number()) continue;
    const double step = record["step"].get<double>();
    add("total", step, record.value("loss", nlohmann::json()));
    const nlohmann::json parts = record.value("losses", nlohmann::json::object());
    for (const auto& [name, value] : parts.items()) add(name, step, value);
  }
  return curves;
}

}  // namespace blip2
