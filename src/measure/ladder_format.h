// How a ladder's figures are written for people: three figures, units that fit, "-" for what isn't
// known. Shared by the table, Markdown and HTML.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace farthing {

// The number at a place of a JSON; none if there is no finite one.
inline std::optional<double> figure(const Json& json, const std::string& pointer) {
  const Json::json_pointer at{pointer};
  if (!json.contains(at) || !json[at].is_number()) return std::nullopt;
  const double value = json[at];
  return std::isfinite(value) ? std::optional(value) : std::nullopt;
}

// Three significant figures, without exponents: "0.00123", "12.3", "1230".
inline std::string three_figures(double value) {
  if (value == 0) return "0";
  const double size = std::floor(std::log10(std::fabs(value)));
  const int decimals = std::max(0, static_cast<int>(2 - size));
  return fmt::format("{:.{}f}", value, std::min(decimals, 12));
}
inline std::string three_figures(std::optional<double> value) {
  return value ? three_figures(*value) : "-";
}

inline std::string as_time(std::optional<double> seconds) {
  if (!seconds) return "-";
  if (*seconds < 1) return three_figures(*seconds * 1e3) + " ms";
  if (*seconds < 600) return three_figures(*seconds) + " s";
  return three_figures(*seconds / 60) + " min";
}
inline std::string as_bytes(std::optional<double> bytes) {
  if (!bytes) return "-";
  if (*bytes < 1024 * 1024) return three_figures(*bytes / 1024) + " KiB";
  return three_figures(*bytes / (1024 * 1024)) + " MiB";
}
inline std::string as_times(std::optional<double> factor) {
  return factor ? "x" + three_figures(*factor) : "-";
}
inline std::string as_percent(std::optional<double> share) {
  return share ? fmt::format("{:.1f} %", 100 * *share) : "-";
}
// "x2.31 (2.20 to 2.42)"
inline std::string with_interval(const Json& json, const std::string& pointer) {
  const auto low = figure(json, pointer + "/low"), high = figure(json, pointer + "/high");
  std::string text = as_times(figure(json, pointer + "/value"));
  if (low && high) text += fmt::format(" ({} to {})", three_figures(*low), three_figures(*high));
  return text;
}

inline constexpr const char* kReservedPrice = "/cumulative/price_per_million_tokens/reserved/value";

// "12 requests, 6 clients, 2,100 tokens in, 600 out"
inline std::string workload_line(const Json& ladder) {
  const Json& w = ladder.at("workload");
  return fmt::format(
      "{}: {} requests of {} clients, {:.0f} tokens of prompts ({} of each shared), "
      "{:.0f} of answers",
      w.at("title").get<std::string>(),
      w.at("requests").get<int>(),
      w.at("clients").get<int>(),
      w.at("prompt_tokens").get<double>(),
      w.at("shared_prompt_tokens").get<int>(),
      w.at("answer_tokens").get<double>());
}

// What has to be said beside the figures, a sentence each.
std::vector<std::string> notes_of(const Json& ladder);

}  // namespace farthing
