#include "base/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace farthing {
namespace {

// Colours that differ for the colour-blind too (Okabe and Ito, 2008).
constexpr std::array<std::string_view, 6> kColours = {
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"};
constexpr double kWidth = 760;

std::string text_at(double x,
                    double y,
                    std::string_view anchor,
                    std::string_view text,
                    std::string_view more = "") {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\"{}>{}</text>\n",
                     x,
                     y,
                     anchor,
                     more,
                     html_text(text));
}

std::string line(double x1, double y1, double x2, double y2, std::string_view style) {
  return fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" {}/>\n",
                     x1,
                     y1,
                     x2,
                     y2,
                     style);
}

std::string svg_of(std::string_view title, double height, std::string_view body) {
  return fmt::format(
      "<figure><figcaption>{0}</figcaption>\n<svg viewBox=\"0 0 {1} {2:.0f}\" role=\"img\" "
      "aria-label=\"{0}\">\n{3}</svg></figure>\n",
      html_text(title),
      kWidth,
      height,
      body);
}

// Where a value lies between two pixels.
class Axis {
 public:
  Axis(double low, double high, bool log, double from, double to)
      : log_(log), low_(in(low)), high_(in(high)), from_(from), to_(to) {
    if (!(high_ > low_)) {
      low_ -= 0.5;
      high_ += 0.5;
    }
  }
  bool shows(double x) const { return std::isfinite(in(x)); }
  double at(double x) const { return from_ + (in(x)-low_) / (high_ - low_) * (to_ - from_); }
  // Round values, some five of them.
  std::vector<double> ticks() const {
    std::vector<double> list;
    if (log_) {
      const double step = std::max(1.0, std::ceil((high_ - low_) / 7));
      for (double e = std::ceil(low_ - 1e-9); e <= high_ + 1e-9; e += step)
        list.push_back(std::pow(10, e));
      if (list.size() >= 2) return list;
      return {std::pow(10, low_), std::pow(10, high_)};
    }
    const double rough = (high_ - low_) / 5, power = std::pow(10, std::floor(std::log10(rough)));
    const double step = power * (rough / power > 5   ? 10
                                 : rough / power > 2 ? 5
                                 : rough / power > 1 ? 2
                                                     : 1);
    for (double x = std::ceil(low_ / step - 1e-9) * step;
         x <= high_ + step * 1e-9 && list.size() < 20;
         x += step)
      list.push_back(std::abs(x) < step * 1e-9 ? 0 : x);
    return list;
  }

 private:
  double in(double x) const { return log_ ? std::log10(x) : x; }
  bool log_;
  double low_, high_, from_, to_;
};

struct Extent {
  double low = std::numeric_limits<double>::infinity(),
         high = -std::numeric_limits<double>::infinity();
  void add(double x, bool log) {
    if (!std::isfinite(x) || (log && x <= 0)) return;
    low = std::min(low, x);
    high = std::max(high, x);
  }
  bool empty() const { return !(low <= high); }
};

// Years stay years.
std::string tick_text(double x) {
  return std::floor(x) == x && x >= 1900 && x <= 2200 ? fmt::format("{:.0f}", x) : short_number(x);
}

}  // namespace

std::string html_text(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string short_number(double x) {
  if (!std::isfinite(x)) return "-";
  const double size = std::abs(x);
  if (size == 0) return "0";
  constexpr std::array<std::pair<double, const char*>, 4> kScales = {
      {{1e12, "T"}, {1e9, "B"}, {1e6, "M"}, {1e4, "k"}}};
  for (const auto& [scale, name] : kScales) {
    if (size < scale * 0.99995) continue;
    if (size >= 1e16) break;
    return fmt::format("{:.4g}{}", x / (*name == 'k' ? 1e3 : scale), name);
  }
  if (size >= 1e16 || size < 1e-6) return fmt::format("{:.2e}", x);
  if (size >= 1000) return fmt::format("{:.0f}", x);
  if (size >= 1e-4) return fmt::format("{:.4g}", x);
  // Written out: 0.0000024 is read faster than 2.4e-06.
  std::string text =
      fmt::format("{:.{}f}", x, 3 - static_cast<int>(std::floor(std::log10(size))) - 1);
  return text;
}

std::string svg(const BarChart& chart) {
  constexpr double kLeft = 210, kRight = 650, kRow = 24, kTop = 8;
  Extent extent;
  if (!chart.log_scale) extent.add(0, false);
  for (const Bar& bar : chart.bars) {
    extent.add(bar.from, chart.log_scale);
    extent.add(bar.to, chart.log_scale);
  }
  if (chart.baseline) extent.add(*chart.baseline, chart.log_scale);
  if (extent.empty()) return "";
  const Axis axis(extent.low, extent.high, chart.log_scale, kLeft, kRight);
  const double bottom = kTop + kRow * static_cast<double>(chart.bars.size());
  std::string body;
  for (const double tick : axis.ticks()) {
    body += line(axis.at(tick), kTop, axis.at(tick), bottom, "class=\"grid\"");
    body += text_at(axis.at(tick), bottom + 16, "middle", tick_text(tick));
  }
  for (size_t i = 0; i < chart.bars.size(); ++i) {
    const Bar& bar = chart.bars[i];
    const double y = kTop + kRow * static_cast<double>(i);
    body += text_at(kLeft - 8, y + 16, "end", bar.label);
    const double from = chart.log_scale && bar.from <= 0 ? extent.low : bar.from;
    if (!axis.shows(from) || !axis.shows(bar.to)) continue;
    const auto [x1, x2] = std::minmax({axis.at(from), axis.at(bar.to)});
    body += fmt::format(
        "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"{}\"/>\n",
        x1,
        y + 4,
        std::max(x2 - x1, 1.5),
        kRow - 8,
        kColours[bar.to < bar.from ? 1 : 0]);
    body += text_at(x2 + 5, y + 16, "start", bar.note.empty() ? short_number(bar.to) : bar.note);
  }
  if (chart.baseline)
    body +=
        line(axis.at(*chart.baseline), kTop, axis.at(*chart.baseline), bottom, "class=\"base\"");
  if (!chart.unit.empty()) body += text_at(kRight, bottom + 32, "end", chart.unit);
  return svg_of(chart.title, bottom + 38, body);
}

std::string svg(const LineChart& chart) {
  constexpr double kLeft = 80, kRight = 740, kTop = 10, kBottom = 330;
  Extent x_extent, y_extent;
  for (const Series& s : chart.series) {
    for (const auto& [x, y] : s.points) {
      x_extent.add(x, chart.log_x);
      y_extent.add(y, chart.log_y);
    }
    for (const auto& [low, high] : s.band) {
      y_extent.add(low, chart.log_y);
      y_extent.add(high, chart.log_y);
    }
  }
  if (x_extent.empty() || y_extent.empty()) return "";
  const Axis x_axis(x_extent.low, x_extent.high, chart.log_x, kLeft, kRight);
  const Axis y_axis(y_extent.low, y_extent.high, chart.log_y, kBottom, kTop);
  std::string body;
  for (const double tick : x_axis.ticks()) {
    body += line(x_axis.at(tick), kTop, x_axis.at(tick), kBottom, "class=\"grid\"");
    body += text_at(x_axis.at(tick), kBottom + 16, "middle", tick_text(tick));
  }
  for (const double tick : y_axis.ticks()) {
    body += line(kLeft, y_axis.at(tick), kRight, y_axis.at(tick), "class=\"grid\"");
    body += text_at(kLeft - 6, y_axis.at(tick) + 4, "end", short_number(tick));
  }
  body += text_at(kRight, kBottom + 34, "end", chart.x_label);
  body += text_at(kLeft, kBottom + 34, "start", chart.y_label);
  double legend = kBottom + 54;
  for (size_t i = 0; i < chart.series.size(); ++i) {
    const Series& s = chart.series[i];
    const std::string_view colour = kColours[i % kColours.size()];
    std::string path, dots, upper, lower;
    for (size_t j = 0; j < s.points.size(); ++j) {
      const auto& [x, y] = s.points[j];
      if (!x_axis.shows(x) || !y_axis.shows(y)) continue;
      path += fmt::format("{}{:.1f},{:.1f}", path.empty() ? "M" : " L", x_axis.at(x), y_axis.at(y));
      dots += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\" fill=\"{}\"/>\n",
                          x_axis.at(x),
                          y_axis.at(y),
                          colour);
      if (j >= s.band.size() || !y_axis.shows(s.band[j].first) || !y_axis.shows(s.band[j].second))
        continue;
      upper += fmt::format("{:.1f},{:.1f} ", x_axis.at(x), y_axis.at(s.band[j].second));
      lower = fmt::format("{:.1f},{:.1f} ", x_axis.at(x), y_axis.at(s.band[j].first)) + lower;
    }
    if (!upper.empty())
      body += fmt::format(
          "<polygon points=\"{}{}\" fill=\"{}\" opacity=\"0.15\"/>\n", upper, lower, colour);
    body += s.dots
                ? dots
                : fmt::format("<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"/>\n",
                              path,
                              colour);
    body += fmt::format("<rect x=\"{}\" y=\"{:.1f}\" width=\"14\" height=\"4\" fill=\"{}\"/>\n",
                        kLeft,
                        legend - 6,
                        colour);
    body += text_at(kLeft + 20, legend, "start", s.label);
    legend += 18;
  }
  return svg_of(chart.title, legend, body);
}

std::string html(const HtmlTable& table) {
  std::string out = table.title.empty() ? "" : fmt::format("<h2>{}</h2>\n", html_text(table.title));
  out += "<table><thead><tr>";
  for (const std::string& cell : table.header) out += fmt::format("<th>{}</th>", html_text(cell));
  out += "</tr></thead>\n<tbody>\n";
  for (const auto& row : table.rows) {
    out += "<tr>";
    for (const std::string& cell : row) out += fmt::format("<td>{}</td>", html_text(cell));
    out += "</tr>\n";
  }
  return out + "</tbody></table>\n";
}

std::string html_page(std::string_view title, const std::vector<std::string>& parts) {
  std::string out = fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width\"><title>{0}</title>\n<style>\n"
      "body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 "
      "1rem;color:#222}}\n"
      "figure{{margin:2rem "
      "0}}figcaption,h2{{font-size:1.15rem;font-weight:600}}svg{{width:100%;height:auto}}\n"
      "svg "
      "text{{font-size:12px;fill:#333}}.grid{{stroke:#ddd}}.base{{stroke:#333;stroke-dasharray:4 "
      "3}}\n"
      "table{{border-collapse:collapse;font-size:.9rem}}td,th{{padding:.25rem "
      ".6rem;border-bottom:1px solid #ddd;"
      "text-align:left;vertical-align:top}}\n</style></head><body>\n<h1>{0}</h1>\n",
      html_text(title));
  for (const std::string& part : parts) out += part;
  return out + "</body></html>\n";
}

}  // namespace farthing
