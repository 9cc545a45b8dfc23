// Charts and tables as one HTML page: inline SVG, no script, nothing fetched. Does not know: what
// is drawn. All text is escaped; numbers that aren't finite are left out.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace farthing {

// "&lt;b&gt;" for "<b>".
std::string html_text(std::string_view text);

// A number for people, 3 to 4 digits: "1.24M", "0.00067".
std::string short_number(double x);

struct Bar {
  std::string label;
  double from = 0, to = 0;  // drawn between them
  std::string note;         // beside it; empty: the value of `to`
};
struct BarChart {
  std::string title;
  std::string unit;
  std::vector<Bar> bars;
  std::optional<double> baseline;  // a line across all bars
  bool log_scale = false;          // all ends above 0
};
std::string svg(const BarChart& chart);

struct Series {
  std::string label;
  std::vector<std::pair<double, double>> points;
  bool dots = false;  // marks instead of a line
  // Band around it, with the points' x; empty: none.
  std::vector<std::pair<double, double>> band;  // low, high
};
struct LineChart {
  std::string title;
  std::string x_label, y_label;
  std::vector<Series> series;
  bool log_x = false, log_y = false;
};
std::string svg(const LineChart& chart);

struct HtmlTable {
  std::string title;
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;
};
std::string html(const HtmlTable& table);

// A page of parts that are HTML already.
std::string html_page(std::string_view title, const std::vector<std::string>& parts);

}  // namespace farthing
