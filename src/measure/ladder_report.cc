#include "measure/ladder_report.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "base/cpu.h"
#include "econ/ledger.h"
#include "measure/ladder_claims.h"

namespace farthing {
namespace {

// An hour of a CPU: what large clouds ask on demand for x86 machines made for computing, about
// (0.0893 USD for the two CPUs of a c7i.large in us-east-1, list price of 2024).
constexpr double kUsdPerCpuHour = 0.045;
// A core that works, with its part of caches and memory controller: 350 W for the 56 cores of a
// Xeon Platinum 8480+, 360 W for the 96 of an EPYC 9654 (the makers' figures): 3.8 to 6.3.
constexpr double kWattsPerCore = 6;
// Below this part of either roof, neither is what a setting waits for.
constexpr double kBoundFrom = 0.35;

Json to_json(const Estimate& e) {
  return {{"value", e.value}, {"low", e.low}, {"high", e.high}};
}

using OfSample = std::function<double(const LadderSample&)>;

std::vector<double> values_of(const LadderMeasured& measured, const OfSample& of) {
  std::vector<double> values;
  for (const LadderSample& sample : measured.samples) values.push_back(of(sample));
  return values;
}

struct Reporter {
  const LadderResult& result;
  const LadderBill& bill;

  double n_prompt() const { return result.tokens.prompt; }
  double n_answer() const { return result.tokens.answer; }
  // Tokens behind the first of each answer.
  double n_steps() const { return n_answer() - result.workload->n_requests; }

  Json mean(const LadderMeasured& m, const OfSample& of) const {
    return to_json(mean_of(values_of(m, of)));
  }
  Json price(const LadderMeasured& m, Ledger::Count count) const {
    const auto by = [&](Ledger::Basis basis) {
      return mean(m, [&, this](const LadderSample& s) {
        const double busy = std::min(s.prompt_busy + s.answer_busy, s.wall);
        const Ledger ledger{
            .price = bill.price,
            .idle = Seconds{s.wall - busy},
            .busy = {Seconds{std::min(s.prompt_busy, busy)},
                     Seconds{busy - std::min(s.prompt_busy, busy)}},
            .prompt = Tokens{n_prompt()},
            .completion = Tokens{n_answer()}};
        const auto price = ledger.token_price(basis, count);
        return price ? per_million(*price).value : 0;
      });
    };
    return {{"reserved", by(Ledger::Basis::kReserved)},
            {"used", by(Ledger::Basis::kUsed)},
            {"tokens", count == Ledger::Count::kOutput ? "output" : "total"}};
  }
  Json joules(const LadderMeasured& m) const {
    const bool counted = std::ranges::all_of(m.samples, [](const auto& s) { return s.joules > 0; });
    const bool told = bill.price.busy_power > Watts{};
    const double watts = told ? (bill.price.busy_power * Seconds{1}).value
                              : kWattsPerCore * cpu_budget().physical_cores;
    Json json = {{"source", counted ? "rapl" : "model"},
                 {"per_output_token", mean(m, [&](const LadderSample& s) {
                    return (counted ? s.joules : watts * s.wall) / n_answer();
                  })}};
    if (!counted) {
      json["watts"] = watts;
      json["model"] = told ? "the price's watts_busy times the time"
                           : "6 W for each core times the time, whether it works or not";
    }
    return json;
  }
  // What holds a setting up, by what loops of the same kind that do nothing else reach here.
  Json bound(const LadderMeasured& m, const LadderSetting& setting) const {
    const bool plain = setting.engine.isa == Isa::kRef && result.machine.isa != Isa::kRef;
    const bool one = setting.engine.n_threads == 1;
    const MachineSpeed::Rates& roof = one ? result.best.one : result.best.all;
    double peak = setting.weights == WeightMode::kF32 ? roof.f32_gflops : roof.int8_gops;
    if (plain) peak = one ? result.plain_gflops_one : result.plain_gflops_all;
    const auto part = [&](const OfSample& of, double most) {
      const double value = mean_of(values_of(m, of)).value;
      return most > 0 ? value / most : 0;
    };
    const double read =
        part([](const LadderSample& s) { return s.bytes_per_s; }, roof.read_gb_per_s * 1e9);
    const double compute =
        part([](const LadderSample& s) { return s.operations_per_s; }, peak * 1e9);
    const char* by = "latency";
    if (std::max(read, compute) >= kBoundFrom) by = read >= compute ? "bandwidth" : "compute";
    return {{"by", by}, {"bandwidth_fraction", read}, {"compute_fraction", compute}};
  }

  Json measure(RungSet rungs) const {
    const LadderMeasured* m = result.of(rungs);
    if (!m || m->samples.empty()) return nullptr;
    const LadderSetting setting = setting_of(rungs, result.machine, result.service);
    const auto rate = [&](double tokens, const OfSample& seconds) {
      return mean(*m,
                  [&](const LadderSample& s) { return seconds(s) > 0 ? tokens / seconds(s) : 0; });
    };
    const auto wall = [](const LadderSample& s) { return s.wall; };
    const LadderSample& last = m->samples.back();
    double most_memory = 0, most_kv = 0;
    for (const LadderSample& s : m->samples) {
      most_memory = std::max(most_memory, static_cast<double>(s.memory));
      most_kv = std::max(most_kv, static_cast<double>(s.kv_memory));
    }
    Json json = {
        {"rungs", names_of(rungs)},
        {"rounds", m->samples.size()},
        {"scaled", last.scaled},
        {"slice",
         {{"requests", m->slice.n_requests},
          {"of_requests", result.workload->n_requests},
          {"lengths", m->slice.lengths}}},
        {"tokens_per_second",
         {{"prefill", rate(n_prompt(), [](const LadderSample& s) { return s.prompt_busy; })},
          {"decode", rate(n_steps(), [](const LadderSample& s) { return s.answer_busy; })},
          {"output", rate(n_answer(), wall)},
          {"total", rate(n_prompt() + n_answer(), wall)}}},
        {"requests_per_second", rate(result.workload->n_requests, wall)},
        {"ttft_seconds",
         {{"p50", mean(*m, [](const LadderSample& s) { return s.ttft_p50; })},
          {"p99", mean(*m, [](const LadderSample& s) { return s.ttft_p99; })}}},
        {"tpot_seconds",
         {{"p50", mean(*m, [](const LadderSample& s) { return s.tpot_p50; })},
          {"p99", mean(*m, [](const LadderSample& s) { return s.tpot_p99; })}}},
        {"itl_p99_seconds", mean(*m, [](const LadderSample& s) { return s.itl_p99; })},
        {"within_slo", mean(*m, [](const LadderSample& s) { return s.within_slo; })},
        {"memory_bytes", most_memory},
        {"weight_bytes", result.weight_bytes.at(setting.weights)},
        {"kv_memory_bytes", most_kv},
        {"kv_bytes_per_token",
         setting.engine.kv_cache ? result.kv_bytes_per_token.at(setting.engine.kv_type) : 0.0},
        {"price_per_million_tokens", price(*m, Ledger::Count::kOutput)},
        {"price_per_million_total_tokens", price(*m, Ledger::Count::kTotal)},
        {"joules", joules(*m)},
        {"bound", bound(*m, setting)},
        {"cached_share", last.cached_share},
        {"drafted_tokens", last.drafted},
        {"accepted_tokens", last.accepted}};
    return json;
  }

  // How many times as much of the workload is done in the same time, and so for the same money.
  Json factor(RungSet with, RungSet without) const {
    const LadderMeasured* a = result.of(without);
    const LadderMeasured* b = result.of(with);
    if (!a || !b || a->samples.empty() || b->samples.empty()) return nullptr;
    const auto wall = [](const LadderSample& s) { return s.wall; };
    return to_json(ratio_of(values_of(*a, wall), values_of(*b, wall)));
  }

  Json quality(RungSet rungs) const {
    const LadderSetting setting = setting_of(rungs, result.machine, result.service);
    const auto at = result.quality.find(numbers_of(setting));
    if (at == result.quality.end()) return nullptr;
    const Quality& q = at->second;
    return {{"kld_mean", to_json(q.kld_mean)},
            {"kld_p99", to_json(q.kld_p99)},
            {"top1_agreement", to_json(q.top1_agreement)},
            {"ppl_ratio", to_json(q.ppl_ratio)},
            {"positions", q.n_scored}};
  }

  // Answers of the same requests that came out alike with the rung and without it.
  Json answers(RungSet with, RungSet without) const {
    const LadderMeasured* a = result.of(without);
    const LadderMeasured* b = result.of(with);
    if (!a || !b || a->samples.empty() || b->samples.empty()) return nullptr;
    if (a->slice.lengths != b->slice.lengths) return nullptr;
    const auto& before = a->samples.front().answers;
    const auto& after = b->samples.front().answers;
    const size_t n = std::min(before.size(), after.size());
    int64_t n_same = 0;
    for (size_t i = 0; i < n; ++i) n_same += before[i] == after[i] ? 1 : 0;
    return {{"compared", n}, {"same", n_same}};
  }

  Json rung(size_t i) const {
    const LadderRow& row = result.rows[i];
    const Rung& what = all_rungs()[row.rung];
    Json needs = Json::array();
    for (const std::string_view id : what.needs)
      if (!id.empty()) needs.push_back(id);
    Json json = {{"id", what.id},
                 {"title", what.title},
                 {"what", what.what},
                 {"kind", rung_kind_name(what.kind)},
                 {"flags", what.flags},
                 {"needs", std::move(needs)},
                 {"changes_numbers", what.changes_numbers}};
    Json cumulative = measure(row.cumulative);
    json["measured"] = !cumulative.is_null();
    if (!cumulative.is_null()) {
      for (const char* name : {"prefill", "decode", "output", "total"})
        json["tokens_per_second"][name] = cumulative["tokens_per_second"][name]["value"];
      for (const char* name : {"reserved", "used"})
        json["price_per_million_tokens"][name] =
            cumulative["price_per_million_tokens"][name]["value"];
    }
    json["cumulative"] = std::move(cumulative);
    json["quality"] = quality(row.cumulative);
    json["factor_from_bottom"] = factor(row.cumulative, result.rows[0].cumulative);
    if (i == 0) return json;
    const RungSet before = result.rows[i - 1].cumulative;
    json["factor"] = factor(row.cumulative, before);
    json["answers"] = answers(row.cumulative, before);
    json["alone"] = {{"without", measure(row.without)},
                     {"with", measure(row.with)},
                     {"factor", factor(row.with, row.without)}};
    // Above 1: it gives more on top of the others than alone; below: they relieve the same.
    if (!json["factor"].is_null() && !json["alone"]["factor"].is_null())
      json["interaction"] =
          json["factor"]["value"].get<double>() / json["alone"]["factor"]["value"].get<double>();
    return json;
  }

  Json machine() const {
    Json json = machine_report(result.machine.isa, result.best)["machine"];
    json["isa"] = isa_name(result.machine.isa);
    json["threads"] = result.machine.n_threads;
    json["read_gb_per_s"] = result.best.all.read_gb_per_s;
    json["int8_gops"] = result.best.all.int8_gops;
    json["f32_gflops"] = result.best.all.f32_gflops;
    json["plain_loops"] = {{"one_thread_f32_gflops", result.plain_gflops_one},
                           {"all_threads_f32_gflops", result.plain_gflops_all}};
    const double hour = (bill.price.busy * hours(1)).value;
    json["currency"] = bill.price.currency;
    json["price_per_hour"] = hour;
    json["usd_per_hour"] = bill.price.currency == "USD" ? Json(hour) : Json();
    json["price_basis"] = bill.basis;
    return json;
  }

  Json workload() const {
    const LadderWorkload& w = *result.workload;
    return {{"id", w.id},
            {"title", w.title},
            {"source", w.source},
            {"seed", result.seed},
            {"requests", w.n_requests},
            {"clients", w.n_clients},
            {"prompt_tokens", n_prompt()},
            {"shared_prompt_tokens", w.n_shared},
            {"answer_tokens", n_answer()},
            {"lengths_shrunk_to", result.shrunk},
            {"slo", {{"ttft_seconds", w.slo_ttft}, {"tpot_seconds", w.slo_tpot}}},
            {"queries_per_day", w.queries_per_day}};
  }
};

}  // namespace

LadderBill assumed_bill(int32_t n_cpus) {
  const auto price = rented("USD", per_hour(Money{kUsdPerCpuHour * n_cpus}));
  return {.price = *price,
          .basis = fmt::format("assumed: {} USD an hour for each of {} CPUs, about what clouds ask "
                               "on demand; --price-per-hour or --price-file say what yours costs",
                               kUsdPerCpuHour,
                               n_cpus)};
}

Json ladder_json(const LadderResult& result, const LadderBill& bill, std::string_view commit) {
  const Reporter reporter{result, bill};
  Json json = {
      {"schema", "farthing-ladder/1"},
      {"commit", commit},
      {"machine", reporter.machine()},
      {"workload", reporter.workload()},
      {"model",
       {{"name", result.model}, {"description", result.description}, {"note", result.note}}},
      {"seconds", result.seconds},
      {"rounds", result.n_rounds},
      {"interrupted", result.interrupted},
      {"out_of_time", result.out_of_time}};
  Json rungs = Json::array();
  for (size_t i = 0; i < result.rows.size(); ++i) rungs.push_back(reporter.rung(i));
  json["rungs"] = std::move(rungs);
  Json missing = Json::array();
  for (const auto& [rung, why] : result.missing)
    missing.push_back(
        {{"id", all_rungs()[rung].id}, {"title", all_rungs()[rung].title}, {"why", why}});
  json["missing"] = std::move(missing);
  json["factors"] = factors_of(json);
  json["claims"] = claims_of(json);
  return json;
}

}  // namespace farthing
