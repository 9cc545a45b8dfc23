#include "measure/load_report.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <numeric>

namespace farthing {
namespace {

bool went_well(const LoadOutcome& o) {
  return o.error.empty() && o.ttft > 0;
}

// Seconds; none for an answer of one token.
std::optional<double> time_per_output_token(const LoadOutcome& o) {
  if (o.n_output < 2) return std::nullopt;
  return (o.latency - o.ttft) / (o.n_output - 1);
}

bool is_good(const LoadOutcome& o, const Slo& slo) {
  const auto keeps = [](const std::optional<double>& limit_ms, double seconds) {
    return !limit_ms || seconds * 1e3 <= *limit_ms;
  };
  return went_well(o) && keeps(slo.ttft, o.ttft) && keeps(slo.e2el, o.latency) &&
         keeps(slo.tpot, time_per_output_token(o).value_or(0)) &&
         keeps(slo.itl, percentile(o.gaps, 99));
}

std::string percent_name(double percent) {
  return fmt::format("p{:g}", percent);
}

// {mean,median,std,pNN}_{name}_ms.
void add_statistics(Json& out,
                    const std::string& name,
                    const std::vector<double>& seconds,
                    const std::vector<double>& percentiles) {
  const auto n = static_cast<double>(std::max<size_t>(seconds.size(), 1));
  const double mean = std::accumulate(seconds.begin(), seconds.end(), 0.0) / n;
  double squares = 0;
  for (const double s : seconds) squares += (s - mean) * (s - mean);
  out["mean_" + name + "_ms"] = mean * 1e3;
  out["median_" + name + "_ms"] = percentile(seconds, 50) * 1e3;
  out["std_" + name + "_ms"] = std::sqrt(squares / n) * 1e3;
  for (const double p : percentiles)
    out[percent_name(p) + "_" + name + "_ms"] = percentile(seconds, p) * 1e3;
}

}  // namespace

double percentile(std::vector<double> values, double percent) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  const double rank = percent / 100 * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(rank);
  const size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (rank - static_cast<double>(below)) * (values[above] - values[below]);
}

Json load_json(const LoadRun& run, const LoadReportOptions& options) {
  std::vector<double> ttft, tpot, itl, e2el;
  int64_t n_input = 0, n_output = 0, n_cached = 0, completed = 0, good = 0;
  std::map<std::string, int64_t> failures;
  std::map<int64_t, int64_t> tokens_in_second;
  double cost = 0;
  std::string currency;
  for (const LoadOutcome& o : run.outcomes) {
    if (!went_well(o)) {
      ++failures[o.status == 0 || o.status == 200 ? "error" : std::to_string(o.status)];
      continue;
    }
    ++completed;
    good += is_good(o, options.slo) ? 1 : 0;
    n_input += o.n_input;
    n_output += o.n_output;
    n_cached += o.n_cached;
    cost += o.cost.value_or(0);
    if (o.cost) currency = o.currency;
    ttft.push_back(o.ttft);
    e2el.push_back(o.latency);
    if (const auto t = time_per_output_token(o)) tpot.push_back(*t);
    itl.insert(itl.end(), o.gaps.begin(), o.gaps.end());
    double at = o.sent + o.ttft;
    ++tokens_in_second[static_cast<int64_t>(at)];
    for (const double gap : o.gaps) ++tokens_in_second[static_cast<int64_t>(at += gap)];
  }
  int64_t most_in_second = 0;
  for (const auto& [second, n] : tokens_in_second) most_in_second = std::max(most_in_second, n);
  const WorkloadOptions& w = options.workload;
  const Slo& slo = options.slo;
  const bool has_slo = slo.ttft || slo.tpot || slo.e2el || slo.itl;
  const std::time_t date = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  Json out = {{"date", fmt::format("{:%Y%m%d-%H%M%S}", fmt::gmtime(date))},
              {"endpoint_type", options.target.chat ? "openai-chat" : "openai"},
              {"backend", options.target.chat ? "openai-chat" : "openai"},
              {"label", options.label.empty() ? Json() : Json(options.label)},
              {"model_id", options.target.model},
              {"tokenizer_id", options.target.model},
              {"num_prompts", run.outcomes.size()},
              {"request_rate", std::isinf(w.rate) ? Json("inf") : Json(w.rate)},
              {"burstiness", w.burstiness},
              {"max_concurrency",
               options.target.max_concurrency > 0 ? Json(options.target.max_concurrency) : Json()},
              {"seed", w.seed},
              {"duration", run.seconds},
              {"completed", completed},
              {"failed", static_cast<int64_t>(run.outcomes.size()) - completed},
              {"failed_by_status", failures},
              {"total_input_tokens", n_input},
              {"total_cached_tokens", n_cached},
              {"total_output_tokens", n_output},
              {"request_throughput", static_cast<double>(completed) / run.seconds},
              {"request_goodput", has_slo ? Json(static_cast<double>(good) / run.seconds) : Json()},
              {"output_throughput", static_cast<double>(n_output) / run.seconds},
              {"total_token_throughput", static_cast<double>(n_input + n_output) / run.seconds},
              {"max_output_tokens_per_s", most_in_second},
              {"max_concurrent_requests", run.most_at_once},
              {"client_cpu_seconds", run.cpu_seconds}};
  if (!currency.empty()) {
    out["cost"] = {{"total", cost},
                   {"currency", currency},
                   {"per_million_output_tokens",
                    n_output > 0 ? Json(cost * 1e6 / static_cast<double>(n_output)) : Json()},
                   {"basis", "used"}};
  }
  add_statistics(out, "ttft", ttft, options.percentiles);
  add_statistics(out, "tpot", tpot, options.percentiles);
  add_statistics(out, "itl", itl, options.percentiles);
  add_statistics(out, "e2el", e2el, options.percentiles);
  if (!options.details) return out;
  for (const char* key : {"input_lens",
                          "output_lens",
                          "ttfts",
                          "itls",
                          "latencies",
                          "start_times",
                          "queue_times",
                          "generated_texts",
                          "errors"}) {
    out[key] = Json::array();
  }
  for (const LoadOutcome& o : run.outcomes) {
    out["input_lens"].push_back(o.n_input);
    out["output_lens"].push_back(o.n_output);
    out["ttfts"].push_back(o.ttft);
    out["itls"].push_back(o.gaps);
    out["latencies"].push_back(o.latency);
    out["start_times"].push_back(o.sent);
    out["queue_times"].push_back(o.queued);
    out["generated_texts"].push_back(o.text);
    out["errors"].push_back(o.error);
  }
  return out;
}

std::string load_table(const Json& report) {
  const auto number = [&](const std::string& key) { return report[key].get<double>(); };
  std::string out = fmt::format(
      "{} of {} requests in {:.1f} s, {:.2f}/s{}; at most {} at once\n"
      "tokens: {} in ({} cached), {} out; {:.1f} out/s, {:.1f} in all/s\n",
      report["completed"].get<int64_t>(),
      report["num_prompts"].get<int64_t>(),
      number("duration"),
      number("request_throughput"),
      report["request_goodput"].is_null()
          ? ""
          : fmt::format(", {:.2f}/s of them good", number("request_goodput")),
      report["max_concurrent_requests"].get<int64_t>(),
      report["total_input_tokens"].get<int64_t>(),
      report["total_cached_tokens"].get<int64_t>(),
      report["total_output_tokens"].get<int64_t>(),
      number("output_throughput"),
      number("total_token_throughput"));
  std::vector<std::string> columns = {"mean", "median", "std"};
  for (const auto& [key, value] : report.items()) {
    if (key.starts_with("p") && key.ends_with("_ttft_ms"))
      columns.push_back(key.substr(0, key.find('_')));
  }
  out += fmt::format("{:<11}", "ms");
  for (const std::string& column : columns) out += fmt::format("{:>10}", column);
  out += '\n';
  for (const auto& [name, title] : {std::pair{"ttft", "TTFT"},
                                    std::pair{"tpot", "TPOT"},
                                    std::pair{"itl", "ITL"},
                                    std::pair{"e2el", "E2EL"}}) {
    out += fmt::format("{:<11}", title);
    for (const std::string& column : columns)
      out += fmt::format("{:>10.2f}", number(fmt::format("{}_{}_ms", column, name)));
    out += '\n';
  }
  for (const auto& [status, n] : report["failed_by_status"].items())
    out += fmt::format("failed, {}: {}\n", status, n.get<int64_t>());
  if (report.contains("cost")) {
    const Json& cost = report["cost"];
    out += fmt::format("cost: {:.4g} {}{} (basis: used)\n",
                       cost["total"].get<double>(),
                       cost["currency"].get<std::string>(),
                       cost["per_million_output_tokens"].is_null()
                           ? ""
                           : fmt::format(", {:.4g} per million output tokens",
                                         cost["per_million_output_tokens"].get<double>()));
  }
  out += fmt::format("this client used {:.2f} s of CPU\n", number("client_cpu_seconds"));
  return out;
}

}  // namespace farthing
