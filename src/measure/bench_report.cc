#include "measure/bench_report.h"

#include <fmt/chrono.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"

namespace farthing {
namespace {

Spread spread_of(const std::vector<double>& values) {
  Spread spread;
  const auto n = static_cast<double>(values.size());
  for (double x : values) spread.mean += x / n;
  if (values.size() < 2) return spread;
  double squares = 0;
  for (double x : values) squares += (x - spread.mean) * (x - spread.mean);
  spread.deviation = std::sqrt(squares / (n - 1));
  return spread;
}

std::vector<double> rates_of(const BenchSamples& samples) {
  std::vector<double> rates;
  for (int64_t ns : samples.ns) {
    rates.push_back(static_cast<double>(samples.test.n_tokens()) * 1e9 /
                    static_cast<double>(std::max<int64_t>(ns, 1)));
  }
  return rates;
}

Spread nanoseconds(const BenchSamples& samples) {
  return spread_of({samples.ns.begin(), samples.ns.end()});
}

// How much of the machine a row used.
struct Use {
  double gb_per_s = 0;
  double gops = 0;
  double read_fraction = 0;
  double int8_fraction = 0;
  double f32_fraction = 0;
};

double median(std::vector<double> values) {
  std::ranges::sort(values);
  const size_t n = values.size();
  return n == 0 ? 0 : (values[(n - 1) / 2] + values[n / 2]) / 2;
}

// The median over repetitions of what they did per nanosecond, as a fraction of the roof beside
// them.
double fraction(const BenchRow& row, double amount, double MachineSpeed::Rates::* roof) {
  std::vector<double> fractions;
  for (size_t i = 0; i < row.samples.ns.size(); ++i) {
    const double beside = (row.roofs[i].*roof + row.roofs[i + 1].*roof) / 2;
    fractions.push_back(amount / static_cast<double>(std::max<int64_t>(row.samples.ns[i], 1)) /
                        beside);
  }
  return median(std::move(fractions));
}

Use use_of(const BenchRow& row) {
  using Rates = MachineSpeed::Rates;
  CHECK(row.roofs.size() == row.samples.ns.size() + 1);
  const double ns = std::max(1.0, nanoseconds(row.samples).mean);
  return {.gb_per_s = row.work.bytes / ns,
          .gops = row.work.operations / ns,
          .read_fraction = fraction(row, row.work.bytes, &Rates::read_gb_per_s),
          .int8_fraction = fraction(row, row.work.operations, &Rates::int8_gops),
          .f32_fraction = fraction(row, row.work.operations, &Rates::f32_gflops)};
}

Json roofs_json(const std::vector<MachineSpeed::Rates>& roofs) {
  Json read = Json::array(), int8 = Json::array();
  for (const MachineSpeed::Rates& rates : roofs) {
    read.push_back(rates.read_gb_per_s);
    int8.push_back(rates.int8_gops);
  }
  return {{"read_gb_per_s", read}, {"int8_gops", int8}};
}

MachineSpeed::Rates better(const MachineSpeed::Rates& a, const MachineSpeed::Rates& b) {
  return {.threads = a.threads,
          .read_gb_per_s = std::max(a.read_gb_per_s, b.read_gb_per_s),
          .int8_gops = std::max(a.int8_gops, b.int8_gops),
          .f32_gflops = std::max(a.f32_gflops, b.f32_gflops)};
}

Json machine_json(const BenchMachine& machine) {
  const MachineSpeed best = machine.best();
  Json json = machine_report(machine.isa, best)["machine"];
  json["isa"] = isa_name(machine.isa);
  json["threads"] = best.all.threads;
  // The roofs of `threads` threads, once more where they are easily found.
  json["read_gb_per_s"] = best.all.read_gb_per_s;
  json["int8_gops"] = best.all.int8_gops;
  json["f32_gflops"] = best.all.f32_gflops;
  json["before"] = speed_json(machine.before);
  json["after"] = speed_json(machine.after);
  return json;
}

Json row_json(const BenchedModel& model,
              const BenchRow& row,
              std::string_view commit,
              const Json& cpu) {
  const BenchTest& test = row.samples.test;
  const Spread ns = nanoseconds(row.samples);
  const Spread rate = tokens_per_second(row.samples);
  const Use use = use_of(row);
  const auto n_tokens = static_cast<double>(test.n_tokens());
  return {{"build_commit", commit},
          {"cpu_info", cpu},
          {"backends", "CPU"},
          {"model_filename", model.filename},
          {"model_type", model.type},
          {"model_size", model.size},
          {"model_n_params", model.n_params},
          {"n_batch", model.chunk},
          {"n_ubatch", model.chunk},
          {"n_threads", model.n_threads},
          {"type_k", kv_type_name(model.kv_type.k)},
          {"type_v", kv_type_name(model.kv_type.v)},
          {"flash_attn", model.flash_attention},
          {"n_prompt", test.n_prompt},
          {"n_gen", test.n_gen},
          {"n_depth", test.n_depth},
          {"n_batch_seqs", test.n_sequences},
          {"test", test.name()},
          {"test_time", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(row.samples.started))},
          {"avg_ns", std::llround(ns.mean)},
          {"stddev_ns", std::llround(ns.deviation)},
          {"avg_ts", rate.mean},
          {"stddev_ts", rate.deviation},
          {"samples_ns", row.samples.ns},
          {"samples_ts", rates_of(row.samples)},
          {"kv_bytes", model.kv_bytes},
          {"workspace_bytes", model.workspace_bytes},
          {"bytes_per_token", row.work.bytes / n_tokens},
          {"ops_per_token", row.work.operations / n_tokens},
          {"read_gb_per_s", use.gb_per_s},
          {"read_fraction", use.read_fraction},
          {"gops", use.gops},
          {"int8_fraction", use.int8_fraction},
          {"f32_fraction", use.f32_fraction},
          {"roofs", roofs_json(row.roofs)}};
}

std::string percent(double fraction) {
  return fmt::format("{:.0f} %", 100 * fraction);
}

std::string model_table(const BenchResult& result) {
  const BenchedModel& model = result.model;
  std::string text = fmt::format("\n{}, {:.1f} MB, KV {}: {}\n",
                                 model.type,
                                 static_cast<double>(model.size) * 1e-6,
                                 kv_types_name(model.kv_type),
                                 model.filename);
  size_t width = 4;
  for (const BenchRow& row : result.rows) {
    width = std::max(width, row.samples.test.name().size());
  }
  text += fmt::format("{:<{}}  {:>20}  {:>9}  {:>16}  {:>18}\n",
                      "test",
                      width,
                      "tokens/s",
                      "ms/step",
                      "read GB/s",
                      "matmuls Gop/s");
  for (const BenchRow& row : result.rows) {
    const BenchTest& test = row.samples.test;
    const Spread rate = tokens_per_second(row.samples);
    const Use use = use_of(row);
    // A prompt is one step, a generation n_gen.
    const double ms = nanoseconds(row.samples).mean * 1e-6 / std::max(1, test.n_gen);
    text += fmt::format("{:<{}}  {:>20}  {:>9.2f}  {:>16}  {:>18}\n",
                        test.name(),
                        width,
                        fmt::format("{:.2f} +- {:.2f}", rate.mean, rate.deviation),
                        ms,
                        fmt::format("{:.1f} ({})", use.gb_per_s, percent(use.read_fraction)),
                        fmt::format("{:.0f} ({})", use.gops, percent(use.int8_fraction)));
  }
  return text;
}

}  // namespace

Spread tokens_per_second(const BenchSamples& samples) {
  return spread_of(rates_of(samples));
}

MachineSpeed BenchMachine::best() const {
  MachineSpeed speed = before;
  speed.one = better(before.one, after.one);
  speed.all = better(before.all, after.all);
  return speed;
}

Json bench_json(const BenchMachine& machine,
                const std::vector<BenchResult>& results,
                std::string_view commit) {
  const Json machine_part = machine_json(machine);
  Json rows = Json::array();
  for (const BenchResult& result : results) {
    for (const BenchRow& row : result.rows) {
      rows.push_back(row_json(result.model, row, commit, machine_part["cpu"]));
    }
  }
  return {{"schema", 1}, {"machine", machine_part}, {"results", std::move(rows)}};
}

std::string bench_table(const BenchMachine& machine, const std::vector<BenchResult>& results) {
  const MachineSpeed best = machine.best();
  const Json report = machine_json(machine);
  std::string text =
      fmt::format("{}, {}\n", report["cpu"].get<std::string>(), isa_name(machine.isa));
  const auto roofs = [&](const MachineSpeed::Rates& rates) {
    text += fmt::format(
        "{} thread{} at most: read {:.1f} GB/s, int8 {:.0f} Gop/s, f32 {:.0f} Gflop/s\n",
        rates.threads,
        rates.threads == 1 ? " " : "s",
        rates.read_gb_per_s,
        rates.int8_gops,
        rates.f32_gflops);
  };
  roofs(best.one);
  if (best.all.threads != 1) roofs(best.all);
  for (const BenchResult& result : results) text += model_table(result);
  text += fmt::format(
      "\nMean +- standard deviation; a batch's tokens/s are those of all its sequences together. "
      "Generation includes\ngreedy sampling. Percentages are of what {} thread{} did in plain "
      "loops "
      "before and after each repetition:\nweights and keys and values read once per step, 2 "
      "operations per weight and token.\n",
      best.all.threads,
      best.all.threads == 1 ? "" : "s");
  return text;
}

}  // namespace farthing
