#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "base/chart.h"
#include "measure/ladder_format.h"
#include "measure/ladder_report.h"

namespace farthing {
namespace {

constexpr double kWidth = 760;

std::string text_of(const Json& json) {
  return html_text(json.get<std::string>());
}

// From values to places on an axis; logarithmic, with a tick at each power of ten, or linear from
// 0.
struct Axis {
  double low = 0, high = 1;  // of values
  double from = 0, to = 1;   // of places
  bool log = true;

  double at(double value) const {
    const double share =
        log ? std::log10(value / low) / std::log10(high / low) : (value - low) / (high - low);
    return from + std::clamp(share, 0.0, 1.0) * (to - from);
  }
  std::vector<double> ticks() const {
    std::vector<double> ticks;
    if (log) {
      for (double t = low; t <= high * 1.001; t *= 10) ticks.push_back(t);
    } else {
      for (int i = 0; i <= 4; ++i) ticks.push_back(low + (high - low) * i / 4);
    }
    return ticks;
  }
  // Whole powers of ten around the values, which are > 0.
  static Axis decades(const std::vector<double>& values, double from, double to) {
    const auto [least, most] = std::ranges::minmax(values);
    Axis axis{std::pow(10, std::floor(std::log10(least))),
              std::pow(10, std::ceil(std::log10(most))),
              from,
              to,
              true};
    if (axis.low == axis.high) axis.high *= 10;
    return axis;
  }
};

struct Point {
  const Json* rung;
  size_t number;  // of the rung, as the page counts them
  double x, y;
};

struct Spot {
  double x, y;
};

// The nearest place around a dot, within the axes, where its number covers nothing; where there is
// none, above it.
Spot free_spot(Spot dot, const Axis& x, const Axis& y, const std::vector<Spot>& taken) {
  constexpr double kApart = 18;
  for (double radius = kApart; radius <= 6 * kApart; radius += kApart / 2) {
    for (int i = 0; i < 16; ++i) {
      const double angle = (i - 4) * std::numbers::pi / 8;  // up first
      const Spot spot{dot.x + radius * std::cos(angle), dot.y + radius * std::sin(angle)};
      const bool inside = spot.x > x.from && spot.x < x.to && spot.y < y.from && spot.y > y.to;
      const auto clear = [&](Spot other) {
        return std::hypot(spot.x - other.x, spot.y - other.y) >= kApart - 1e-9;
      };
      if (inside && std::ranges::all_of(taken, clear)) return spot;
    }
  }
  return {dot.x, dot.y - kApart};
}

std::string svg(double height, const std::string& title, const std::string& body) {
  return fmt::format(
      "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\"><title>{}</title>{}</svg>\n",
      kWidth,
      height,
      title,
      title,
      body);
}
std::string label(
    double x, double y, const char* anchor, const std::string& text, const char* kind = "") {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" class=\"{}\">{}</text>",
                     x,
                     y,
                     anchor,
                     kind,
                     text);
}
std::string line(double x1, double y1, double x2, double y2, const char* kind) {
  return fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" class=\"{}\"/>",
                     x1,
                     y1,
                     x2,
                     y2,
                     kind);
}
std::string rect(double x1, double x2, double y, double height, const char* kind) {
  return fmt::format(
      "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" class=\"{}\"/>",
      std::min(x1, x2),
      y,
      std::max(0.5, std::fabs(x2 - x1)),
      height,
      kind);
}

struct Page {
  const Json& ladder;
  std::vector<std::pair<size_t, const Json*>>
      rungs;  // those that were measured, with their numbers

  explicit Page(const Json& json) : ladder(json) {
    size_t number = 0;
    for (const Json& rung : json.at("rungs")) {
      if (rung.at("measured") == true) rungs.emplace_back(number, &rung);
      ++number;
    }
  }

  std::string currency() const { return ladder.at("machine").at("currency"); }

  // Bars from the left to a rung's price; behind it, what it took off the one before.
  std::string waterfall() const {
    std::vector<double> prices;
    for (const auto& [number, rung] : rungs)
      prices.push_back(figure(*rung, kReservedPrice).value_or(0));
    if (prices.empty() || std::ranges::min(prices) <= 0) return {};
    constexpr double kRow = 30, kTop = 26, kLeft = 190;
    const double height = kTop + kRow * static_cast<double>(prices.size()) + 10;
    const Axis axis = Axis::decades(prices, kLeft, kWidth - 130);
    std::string body;
    for (const double tick : axis.ticks()) {
      body += line(axis.at(tick), kTop - 6, axis.at(tick), height - 8, "grid");
      body += label(axis.at(tick), kTop - 12, "middle", three_figures(tick), "small");
    }
    for (size_t i = 0; i < prices.size(); ++i) {
      const double y = kTop + kRow * static_cast<double>(i);
      const auto& [number, rung] = rungs[i];
      body += label(
          kLeft - 8, y + 16, "end", fmt::format("{}. {}", number, text_of(rung->at("title"))));
      body += rect(axis.from, axis.at(prices[i]), y + 4, kRow - 10, "bar");
      double end = axis.at(prices[i]);
      if (i > 0) {
        const double before = axis.at(prices[i - 1]);
        body += rect(axis.at(prices[i]),
                     before,
                     y + 4,
                     kRow - 10,
                     prices[i] <= prices[i - 1] ? "saved" : "dearer");
        end = std::max(end, before);
      }
      std::string text = three_figures(prices[i]);
      if (i > 0) text += " (" + as_times(figure(*rung, "/factor/value")) + ")";
      body += label(end + 6, y + 16, "start", text, "small");
    }
    return svg(height, "Price of a million tokens of answers, rung by rung", body);
  }

  std::string scatter(const std::vector<Point>& points,
                      const Axis& x,
                      const Axis& y,
                      const std::string& x_name,
                      const std::string& y_name,
                      const std::string& title) const {
    std::string body;
    for (const double tick : x.ticks()) {
      body += line(x.at(tick), y.from, x.at(tick), y.to, "grid");
      body += label(x.at(tick), y.from + 16, "middle", three_figures(tick), "small");
    }
    for (const double tick : y.ticks()) {
      body += line(x.from, y.at(tick), x.to, y.at(tick), "grid");
      body += label(x.from - 6, y.at(tick) + 4, "end", three_figures(tick), "small");
    }
    for (size_t i = 1; i < points.size(); ++i)
      body += line(x.at(points[i - 1].x),
                   y.at(points[i - 1].y),
                   x.at(points[i].x),
                   y.at(points[i].y),
                   "path");
    std::vector<Spot> taken;  // by dots and numbers
    for (const Point& p : points) taken.push_back({x.at(p.x), y.at(p.y)});
    for (const Point& p : points) {
      const Spot dot{x.at(p.x), y.at(p.y)};
      body += fmt::format(
          "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\" class=\"dot\"><title>{}</title></circle>",
          dot.x,
          dot.y,
          text_of(p.rung->at("title")));
      const Spot number = free_spot(dot, x, y, taken);
      taken.push_back(number);
      body += line(dot.x, dot.y, number.x, number.y, "leader");
      body += fmt::format(
          "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"9\" class=\"plate\"/>", number.x, number.y);
      body += label(number.x, number.y + 4, "middle", std::to_string(p.number), "number");
    }
    body += label((x.from + x.to) / 2, y.from + 34, "middle", x_name);
    body += label(x.from, y.to - 10, "start", y_name);
    return svg(y.from + 42, title, body);
  }

  std::vector<Point> points(const std::string& x, const std::string& y, bool y_positive) const {
    std::vector<Point> found;
    for (const auto& [number, rung] : rungs) {
      const auto at_x = figure(*rung, x), at_y = figure(*rung, y);
      if (at_x && at_y && *at_x > 0 && (!y_positive || *at_y > 0))
        found.push_back({rung, number, *at_x, *at_y});
    }
    return found;
  }

  std::string latency() const {
    const auto found =
        points("/tokens_per_second/total", "/cumulative/ttft_seconds/p50/value", true);
    if (found.empty()) return {};
    std::vector<double> xs, ys;
    for (const Point& p : found) {
      xs.push_back(p.x);
      ys.push_back(p.y);
    }
    return scatter(found,
                   Axis::decades(xs, 70, kWidth - 20),
                   Axis::decades(ys, 320, 34),
                   "tokens a second, questions and answers (further right is more)",
                   "seconds until an answer begins, median (lower is sooner)",
                   "Throughput against latency");
  }

  std::string quality() const {
    const auto found = points(kReservedPrice, "/quality/kld_mean/value", false);
    if (found.empty()) return {};
    std::vector<double> xs;
    double most = 1e-6;
    for (const Point& p : found) {
      xs.push_back(p.x);
      most = std::max(most, p.y);
    }
    return scatter(found,
                   Axis::decades(xs, 70, kWidth - 20),
                   {0, most * 1.1, 320, 34, false},
                   currency() + " for a million tokens of answers (further left is cheaper)",
                   "how far answers stray from the unrounded model (mean KL divergence)",
                   "Quality against price");
  }

  std::string memory() const {
    double most = 0;
    for (const auto& [number, rung] : rungs)
      most = std::max(most, figure(*rung, "/cumulative/memory_bytes").value_or(0));
    if (most <= 0) return {};
    constexpr double kRow = 26, kTop = 10, kLeft = 190;
    const Axis axis{0, most, kLeft, kWidth - 110, false};
    std::string body;
    for (size_t i = 0; i < rungs.size(); ++i) {
      const auto& [number, rung] = rungs[i];
      const double y = kTop + kRow * static_cast<double>(i);
      const double all = figure(*rung, "/cumulative/memory_bytes").value_or(0);
      const double weights = figure(*rung, "/cumulative/weight_bytes").value_or(0);
      const double kv = figure(*rung, "/cumulative/kv_memory_bytes").value_or(0);
      body += label(
          kLeft - 8, y + 15, "end", fmt::format("{}. {}", number, text_of(rung->at("title"))));
      body += rect(axis.from, axis.at(weights), y + 3, kRow - 8, "bar");
      body += rect(axis.at(weights), axis.at(weights + kv), y + 3, kRow - 8, "saved");
      body += rect(axis.at(weights + kv), axis.at(all), y + 3, kRow - 8, "rest");
      body += label(axis.at(all) + 6, y + 15, "start", as_bytes(all), "small");
    }
    return svg(kTop + kRow * static_cast<double>(rungs.size()) + 8, "Memory, rung by rung", body);
  }

  std::string steps() const {
    std::string out = "<ol start=\"0\">";
    for (const Json& rung : ladder.at("rungs")) {
      out += fmt::format("<li><b>{}</b> {}", text_of(rung.at("title")), text_of(rung.at("what")));
      if (rung.at("measured") != true) {
        out += " <i>Not measured.</i></li>\n";
        continue;
      }
      const Json& bound = rung.at("cumulative").at("bound").at("by");
      const char* limit = bound == "bandwidth" ? "reading memory"
                          : bound == "compute"
                              ? "arithmetic"
                              : "neither memory nor arithmetic: waiting and overheads";
      if (rung.contains("factor"))
        out += fmt::format(" <i>On top of the rungs before: {}; alone: {}.</i>",
                           with_interval(rung, "/factor"),
                           with_interval(rung, "/alone/factor"));
      out += fmt::format(" <i>What holds it up here: {}.</i></li>\n", limit);
    }
    return out + "</ol>";
  }

  std::string claims() const {
    std::string out =
        "<table><tr><th>The chapter says</th><th>measured here</th><th>verdict</th>"
        "<th>when it would hold</th></tr>\n";
    for (const Json& claim : ladder.at("claims"))
      out += fmt::format("<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
                         text_of(claim.at("claim")),
                         text_of(claim.at("measured_text")),
                         text_of(claim.at("verdict")),
                         text_of(claim.at("condition")));
    return out + "</table>";
  }

  std::string table() const {
    std::string out =
        "<table><tr><th>rung</th><th>tokens/s</th><th>first token, median</th>"
        "<th>each token, median</th><th>memory</th><th>" +
        currency() +
        " per million, reserved</th><th>used</th><th>joules a token</th>"
        "<th>same first choice</th></tr>\n";
    for (const auto& [number, rung] : rungs) {
      const auto at = [&, rung = rung](const char* pointer) { return figure(*rung, pointer); };
      const bool scaled = rung->at("cumulative").at("scaled");
      out += fmt::format(
          "<tr><td>{}. {}{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>"
          "<td>{}</td><td>{}</td></tr>\n",
          number,
          text_of(rung->at("title")),
          scaled ? "*" : "",
          three_figures(at("/tokens_per_second/total")),
          as_time(at("/cumulative/ttft_seconds/p50/value")),
          as_time(at("/cumulative/tpot_seconds/p50/value")),
          as_bytes(at("/cumulative/memory_bytes")),
          three_figures(at(kReservedPrice)),
          three_figures(at("/cumulative/price_per_million_tokens/used/value")),
          three_figures(at("/cumulative/joules/per_output_token/value")),
          as_percent(at("/quality/top1_agreement/value")));
    }
    return out + "</table>";
  }

  std::string summary() const {
    if (rungs.empty()) return "<p>Nothing was measured.</p>";
    const Json& first = *rungs.front().second;
    const Json& last = *rungs.back().second;
    return fmt::format(
        "<p class=\"big\">A million tokens of answers cost <b>{}&nbsp;{}</b> at the bottom and "
        "<b>{}&nbsp;{}</b> at the top: <b>{}</b> cheaper, on the same machine, with the same "
        "model.</p>",
        three_figures(figure(first, kReservedPrice)),
        html_text(currency()),
        three_figures(figure(last, kReservedPrice)),
        html_text(currency()),
        with_interval(last, "/factor_from_bottom"));
  }

  std::string factors() const {
    const Json& f = ladder.at("factors");
    return fmt::format(
        "<p>Rungs that change the algorithm give {}, those that change the system {}; together {}, "
        "and measured as a whole {}. Multiplied from what each gives alone it would be {}: factors "
        "multiply only where they relieve different limits. Core for core, this machine does {} of "
        "the {} ({}).</p>",
        as_times(figure(f, "/algorithm")),
        as_times(figure(f, "/system")),
        as_times(figure(f, "/product")),
        as_times(figure(f, "/whole")),
        as_times(figure(f, "/alone/product")),
        as_times(figure(f, "/machine/factor")),
        text_of(f.at("machine").at("baseline").at("name")),
        text_of(f.at("machine").at("by")));
  }
};

constexpr std::string_view kStyle =
    "<style>:root{--ink:#1c2430;--paper:#fff;--soft:#6b7785;--grid:#d9dee5;--bar:#3b6ea5;"
    "--saved:#9dc3e6;--dearer:#d98b5f;--rest:#c9ced6}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6eaf0;--paper:#14181e;--soft:#9aa5b1;"
    "--grid:#2d3540;--bar:#5b93d1;--saved:#2f5278;--dearer:#a8613a;--rest:#4a525d}}"
    "body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);"
    "max-width:860px;margin:2em auto;padding:0 1em}h1{font-size:1.6em}h2{margin-top:2em}"
    ".big{font-size:1.25em}svg{width:100%;height:auto;font:13px system-ui,sans-serif}"
    "svg text{fill:var(--ink)}svg .small{fill:var(--soft);font-size:12px}"
    ".grid{stroke:var(--grid)}.path{stroke:var(--soft);stroke-dasharray:3 3}.bar{fill:var(--bar)}"
    ".saved{fill:var(--saved)}.dearer{fill:var(--dearer)}.rest{fill:var(--rest)}"
    ".dot{fill:var(--bar)}.plate{fill:var(--paper)}.leader{stroke:var(--bar)}"
    "svg .number{font-size:12px}"
    "table{border-collapse:collapse;font-size:.85em;display:block;overflow-x:auto}"
    "th,td{text-align:left;padding:.3em .6em;border-bottom:1px solid var(--grid);"
    "vertical-align:top}i,.soft{color:var(--soft)}li{margin:.5em 0}</style>";

}  // namespace

std::string ladder_html(const Json& ladder) {
  const Page page(ladder);
  const Json& machine = ladder.at("machine");
  std::string out =
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
      "<title>What each optimisation is worth</title>";
  out += kStyle;
  out += "</head><body>\n<h1>What each optimisation is worth</h1>\n";
  out += page.summary();
  out += fmt::format(
      "<p>A language model answers word by word (a token is a word or a part of one). This page "
      "starts with the plainest program that computes the right answers and switches on one "
      "improvement after the other. Each was measured with {} on {} ({} threads), which costs {} "
      "{} an hour ({}). The work: {}.</p>\n",
      text_of(ladder.at("model").at("name")),
      text_of(machine.at("cpu")),
      machine.at("threads").get<int>(),
      three_figures(figure(machine, "/price_per_hour")),
      text_of(machine.at("currency")),
      text_of(machine.at("price_basis")),
      html_text(workload_line(ladder)));
  out += "<h2>What a million tokens cost</h2>\n<p class=\"soft\">" + html_text(page.currency()) +
         " per million tokens of answers; each line to the right is ten times as dear. Pale: what "
         "the rung took off.</p>\n" +
         page.waterfall();
  out += "<h2>The rungs</h2>\n" + page.steps() + page.factors();
  out += "<h2>Throughput against latency</h2>\n" + page.latency();
  out +=
      "<h2>Memory</h2>\n<p class=\"soft\">Dark: the model; pale: what is kept of conversations; "
      "grey: room to work.</p>\n" +
      page.memory();
  out += "<h2>Quality against price</h2>\n" + page.quality();
  out += "<h2>All figures</h2>\n" + page.table();
  out += "<h2>The chapter's claims</h2>\n" + page.claims();
  out += "<h2>What to know</h2>\n<ul>";
  for (const std::string& note : notes_of(ladder)) out += "<li>" + html_text(note) + "</li>\n";
  out += "</ul></body></html>\n";
  return out;
}

}  // namespace farthing
