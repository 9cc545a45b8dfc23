#include "measure/quality_report.h"

#include <fmt/format.h>

#include <string_view>

namespace farthing {
namespace {

void put(Json& json, const std::string& name, const Estimate& e) {
  json[name] = e.value;
  json[name + "_ci95"] = {e.low, e.high};
}

Json suite_json(const SuiteScore& suite) {
  const auto score_json = [](const TaskScore& score) {
    Json json = {{"n", score.n}};
    put(json, "accuracy", score.accuracy);
    put(json, "accuracy_reference", score.accuracy_reference);
    put(json, "agreement", score.agreement);
    return json;
  };
  Json json = score_json(suite.all);
  json["tasks"] = Json::object();
  for (const auto& [task, score] : suite.tasks) {
    Json& row = json["tasks"][std::string(task_name(task))] = score_json(score);
    row["chance"] = has_choices(task) ? 0.25 : 0.0;
  }
  return json;
}

std::string suite_table(const SuiteScore& suite) {
  std::string text = fmt::format("\n{:<24}{:>6}  {:>22}  {:>22}  {:>22}\n",
                                 "questions",
                                 "",
                                 "right, %",
                                 "reference, %",
                                 "same answer, %");
  const auto share = [](const Estimate& e) {
    return fmt::format("{:.1f} ({:.1f} to {:.1f})", 100 * e.value, 100 * e.low, 100 * e.high);
  };
  const auto line = [&](std::string_view name, const TaskScore& score) {
    text += fmt::format("{:<24}{:>6}  {:>22}  {:>22}  {:>22}\n",
                        name,
                        score.n,
                        share(score.accuracy),
                        share(score.accuracy_reference),
                        share(score.agreement));
  };
  for (const auto& [task, score] : suite.tasks) line(fmt::format("  {}", task_name(task)), score);
  line("  all", suite.all);
  return text;
}

}  // namespace

Json quality_json(const QualityReport& report) {
  const Quality& q = report.quality;
  Json json = {{"n_scored", q.n_scored}};
  put(json, "ppl", q.ppl);
  put(json, "ppl_reference", q.ppl_reference);
  put(json, "ppl_ratio", q.ppl_ratio);
  const std::string suffix = report.kld_at_least ? "_at_least" : "";
  put(json, "kld_mean" + suffix, q.kld_mean);
  put(json, "kld_median" + suffix, q.kld_median);
  put(json, "kld_p99" + suffix, q.kld_p99);
  json["kld_max" + suffix] = q.kld_max;
  put(json, "top1_agreement", q.top1_agreement);
  put(json, "rms_dp", q.rms_dp);
  put(json, "mean_dp", q.mean_dp);
  json["chunks"] = report.n_chunks;
  json["ctx"] = report.ctx;
  if (report.suite) json["suite"] = suite_json(*report.suite);
  json["model"] = report.model;
  json["reference"] = report.reference;
  json["reference_note"] = report.reference_note.empty() ? Json() : Json(report.reference_note);
  json["peak_resident_bytes"] = report.peak_resident_bytes;
  return json;
}

std::string quality_table(const QualityReport& report) {
  const Quality& q = report.quality;
  std::string text;
  const auto line =
      [&](const char* name, const Estimate& e, const char* format, double factor = 1) {
        const auto figure = [&](double x) { return fmt::format(fmt::runtime(format), x * factor); };
        text += fmt::format(
            "{:<24}{:>12}   {} to {}\n", name, figure(e.value), figure(e.low), figure(e.high));
      };
  text += fmt::format("model                   {}\nreference               {}\n",
                      report.model["description"].get<std::string>(),
                      report.reference["description"].get<std::string>());
  if (!report.reference_note.empty()) text += fmt::format("{:<24}{}\n", "", report.reference_note);
  text += fmt::format("\n{:<24}{:>12}   95 % of the time\n", "", "");
  line("perplexity", q.ppl, "{:.4f}");
  line("of the reference", q.ppl_reference, "{:.4f}");
  line("ratio", q.ppl_ratio, "{:.5f}");
  line(report.kld_at_least ? "KL divergence, at least" : "KL divergence, mean",
       q.kld_mean,
       "{:.6f}");
  line("  median", q.kld_median, "{:.6f}");
  line("  99 %", q.kld_p99, "{:.5f}");
  text += fmt::format("{:<24}{:>12.4f}\n", "  largest", q.kld_max);
  line("same top token, %", q.top1_agreement, "{:.3f}", 100);
  line("RMS change of p, %", q.rms_dp, "{:.4f}", 100);
  line("mean change of p, %", q.mean_dp, "{:.4f}", 100);
  text += fmt::format(
      "\n{} tokens scored in {} chunks of {}\n", q.n_scored, report.n_chunks, report.ctx);
  if (report.suite) text += suite_table(*report.suite);
  text += '\n';
  const auto takes = [&](const char* name, const Json& side) {
    if (!side.contains("weight_bytes")) return;
    text += fmt::format(
        "{:<12}{:.1f} MB of weights a token ({:.2f} bits each), {:.1f} KB of keys and values a "
        "position, {:.0f} prompt tokens/s\n",
        name,
        side["weight_bytes"].get<double>() * 1e-6,
        side["bits_per_weight"].get<double>(),
        side["kv_bytes_per_token"].get<double>() * 1e-3,
        side["tokens_per_second"].get<double>());
  };
  takes("model", report.model);
  takes("reference", report.reference);
  text += fmt::format("peak memory {:.0f} MiB\n",
                      static_cast<double>(report.peak_resident_bytes) / (1 << 20));
  return text;
}

}  // namespace farthing
