#include "measure/ladder_claims.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <string_view>

namespace farthing {
namespace {

// What this machine's cores are held against: Intel Xeon Gold 6148 of 2017 (Intel's product page:
// 20 cores, six channels of DDR4-2666: 128 GB/s; two AVX-512 FMA units, 1.6 GHz with all cores in
// AVX-512), as many of its cores as are used here.
struct Baseline {
  std::string_view name = "Intel Xeon Gold 6148 (2017), as many of its 20 cores";
  double gb_per_s = 128.0 / 20;          // of a core
  double f32_gflops = 2 * 2 * 16 * 1.6;  // of a core
};

const Json* find(const Json& ladder, std::string_view id) {
  for (const Json& rung : ladder.at("rungs"))
    if (rung.at("id") == id && rung.at("measured") == true) return &rung;
  return nullptr;
}

const Json* top_of(const Json& ladder) {
  const Json* top = nullptr;
  for (const Json& rung : ladder.at("rungs"))
    if (rung.at("measured") == true) top = &rung;
  return top;
}

std::optional<double> number(const Json* json, std::string_view pointer) {
  if (!json) return std::nullopt;
  const Json::json_pointer at{std::string(pointer)};
  if (!json->contains(at) || !(*json)[at].is_number()) return std::nullopt;
  const double value = (*json)[at];
  return std::isfinite(value) ? std::optional(value) : std::nullopt;
}

std::optional<double> ratio(std::optional<double> a, std::optional<double> b) {
  if (!a || !b || *b <= 0) return std::nullopt;
  return *a / *b;
}

// The rung's figure on top of those below, and alone.
std::string both_ways(const Json& ladder, std::string_view id) {
  const Json* rung = find(ladder, id);
  const auto above = number(rung, "/factor/value"), alone = number(rung, "/alone/factor/value");
  std::string text;
  if (above) text = fmt::format("x{:.2f} on top of the rungs below", *above);
  if (alone) text += fmt::format("{}x{:.2f} alone", text.empty() ? "" : ", ", *alone);
  return text;
}

struct Measured {
  std::optional<double> value;
  std::string text;
};

struct Claim {
  std::string_view id;  // as in the audit of the chapter
  std::string_view claim;
  double low, high;
  std::string_view unit;
  std::string_view condition;
  Measured (*measure)(const Json& ladder);
};

std::optional<double> whole(const Json& ladder) {
  return number(top_of(ladder), "/factor_from_bottom/value");
}

Measured factor_of(const Json& ladder, std::string_view id) {
  const Json* rung = find(ladder, id);
  const auto above = number(rung, "/factor/value"), alone = number(rung, "/alone/factor/value");
  return {above && alone ? std::optional(std::max(*above, *alone)) : above, both_ways(ladder, id)};
}

Measured kv_saving(const Json& ladder) {
  const Json* before = find(ladder, "chunked-prefill");
  const Json* paged = find(ladder, "paged-prefix-cache");
  const Json* after = find(ladder, "int8-kv");
  constexpr std::string_view kMemory = "/cumulative/kv_memory_bytes";
  const auto left = ratio(number(after ? after : paged, kMemory), number(before, kMemory));
  if (!left) return {};
  const auto by_pages = ratio(number(paged, kMemory), number(before, kMemory));
  return {100 * (1 - *left),
          fmt::format("{:.0f} % of the memory for keys and values: {:.0f} % by pages and shared "
                      "beginnings, the rest by INT8",
                      100 * (1 - *left),
                      100 * (1 - by_pages.value_or(1)))};
}

Measured cut_by_three(const Json& ladder) {
  const Json* rung = find(ladder, "continuous-batching");
  const auto factor = number(rung, "/factor_from_bottom/value");
  if (!factor) return {};
  return {100 * (1 - 1 / *factor),
          fmt::format("{:.1f} % from the bottom up to continuous batching, SIMD and threads "
                      "included",
                      100 * (1 - 1 / *factor))};
}

Measured machine_factor(const Json& ladder) {
  const Json& machine = ladder.at("factors").at("machine");
  const auto value = number(&machine, "/factor");
  if (!value) return {};
  return {value,
          fmt::format("x{:.2f} bandwidth, x{:.2f} float32 peak against {}",
                      machine.at("bandwidth_factor").get<double>(),
                      machine.at("compute_factor").get<double>(),
                      machine.at("baseline").at("name").get<std::string>())};
}

Measured kind_factor(const Json& ladder, const char* kind) {
  const Json& factors = ladder.at("factors");
  const auto value = number(&factors, fmt::format("/{}", kind));
  const auto alone = number(&factors, fmt::format("/alone/{}", kind));
  if (!value) return {};
  return {value,
          fmt::format("x{:.1f} on top of each other, x{:.1f} multiplied from alone",
                      *value,
                      alone.value_or(NAN))};
}

Measured times_whole(const Json& ladder, double machine, std::string_view text) {
  const auto value = whole(ladder);
  if (!value) return {};
  return {*value * machine, fmt::format("x{:.1f} {}", *value * machine, text)};
}

constexpr Claim kClaims[] = {
    {"T5a",
     "Batching raises throughput 5 times",
     5,
     5,
     "times",
     "Answers are limited by reading the weights, and many more clients wait than here: n clients "
     "that share a step read them once instead of n times, at most n times as fast. Where the "
     "arithmetic is the limit already, as on few cores, less is left.",
     [](const Json& l) { return factor_of(l, "continuous-batching"); }},
    {"T5b",
     "KV-cache work saves 60 % of memory",
     60,
     60,
     "percent",
     "Room was reserved for the longest possible conversation, or many conversations begin alike. "
     "INT8 instead of 16 bits saves half by itself.",
     kv_saving},
    {"T5c",
     "INT8 to INT4 makes it 4 times cheaper",
     4,
     4,
     "times",
     "Never by itself: the bytes are halved at best, so 2 is the limit where reading them is all "
     "that counts; 4 is 16 bits to 4.",
     [](const Json& l) { return factor_of(l, "int4"); }},
    {"F1a",
     "Speculative decoding gives 2 to 3 times",
     2,
     3,
     "times",
     "One client at a time, answers that repeat what was said before (edits, extraction), and "
     "arithmetic to spare. Where clients share steps, checking guesses costs what they would get.",
     [](const Json& l) { return factor_of(l, "speculation"); }},
    {"R5",
     "Batching, KV cache and quantisation cut the cost by 90 %",
     90,
     90,
     "percent",
     "Against an engine without a KV cache; against one that has it and uses all cores, see the "
     "factors of the rungs themselves.",
     cut_by_three},
    {"E3a",
     "Answers begin 10 times sooner (5-10 s to 0.5-1 s)",
     10,
     10,
     "times",
     "The wait before was mostly computing and queueing, which the rungs remove; a network's share "
     "stays.",
     [](const Json& l) -> Measured {
       const Json* bottom = find(l, "naive");
       const auto before = number(bottom, "/cumulative/ttft_seconds/p50/value");
       const auto after = number(top_of(l), "/cumulative/ttft_seconds/p50/value");
       const auto factor = ratio(before, after);
       if (!factor) return {};
       return {
           factor,
           fmt::format("x{:.1f}: {:.2f} s to {:.3f} s in the median", *factor, *before, *after)};
     }},
    {"E3b",
     "1,000 times as many requests a second",
     1000,
     1000,
     "times",
     "The older figure is of one sequence on one machine, the newer of a fleet: count machines "
     "apart.",
     [](const Json& l) { return times_whole(l, 1, "as many answers in the same time"); }},
    {"E4a",
     "Hardware gives 10 times (V100 to H100)",
     10,
     10,
     "times",
     "Their arithmetic at 8 bits against 16; of memory bandwidth, which decoding lives on, 3.7 "
     "times. Here: this machine against a stated older one, core for core.",
     machine_factor},
    {"E4b",
     "Algorithms give 5 times",
     5,
     5,
     "times",
     "Depends on where one begins: from an engine without a KV cache it is far more.",
     [](const Json& l) { return kind_factor(l, "algorithm"); }},
    {"E4c",
     "Systems give 6 times",
     6,
     6,
     "times",
     "Depends on where one begins: here from plain loops on one core and one client at a time.",
     [](const Json& l) { return kind_factor(l, "system"); }},
    {"E4d",
     "Software gives 30 times",
     30,
     30,
     "times",
     "From a naive engine. Factors of single techniques multiply to that only where they relieve "
     "different limits.",
     [](const Json& l) { return times_whole(l, 1, "from the bottom to the top, on one machine"); }},
    {"E4",
     "Hardware, algorithms and systems give 300 times",
     300,
     300,
     "times",
     "The machine's factor times that of the software, if what limits it is the same before and "
     "after.",
     [](const Json& l) {
       const auto machine = number(&l.at("factors"), "/machine/factor");
       return times_whole(l, machine.value_or(1), "with the machine's factor");
     }},
};

std::string_view verdict(const Claim& claim, std::optional<double> value) {
  if (!value) return "not measured";
  if (*value < claim.low) return "not here";
  return *value > 1.5 * claim.high ? "more than claimed" : "holds here";
}

Json toast_row(const Json& ladder) {
  const auto queries = number(&ladder, "/workload/queries_per_day");
  const Json* top = top_of(ladder);
  const auto rate = number(top, "/cumulative/requests_per_second/value");
  const auto hour = number(&ladder, "/machine/price_per_hour");
  if (!queries || *queries <= 0 || !rate || *rate <= 0 || !hour) return nullptr;
  const double per_query = *hour / 3600 / *rate;
  const std::string currency = ladder.at("machine").at("currency");
  return {{"id", "T2"},
          {"claim", "500,000 queries a day for 0.02 USD each"},
          {"claimed", {0.02, 0.02}},
          {"unit", currency + " per query"},
          {"measured", per_query},
          {"measured_text",
           fmt::format("{:.6f} {} per query with machines that are always busy; {:.1f} of these "
                       "machines for {:.0f} queries a day spread evenly, with this model",
                       per_query,
                       currency,
                       *queries / 86400 / *rate,
                       *queries)},
          {"condition",
           "A model that is good enough for the customers: this one is small. Machines for the "
           "busiest hour, not for the mean, and people for what the model can't answer."},
          {"verdict", per_query <= 0.02 ? "holds here" : "not here"}};
}

}  // namespace

Json factors_of(const Json& ladder) {
  // Of the rungs of a kind, or of both; null if none was measured.
  const auto product = [&](std::string_view kind, const char* pointer) -> Json {
    std::optional<double> value;
    for (const Json& rung : ladder.at("rungs")) {
      if (!kind.empty() && rung.at("kind") != kind) continue;
      if (const auto factor = number(&rung, pointer)) value = value.value_or(1) * *factor;
    }
    return value ? Json(*value) : Json();
  };
  constexpr const char *kOnTop = "/factor/value", *kAlone = "/alone/factor/value";
  const auto all = whole(ladder);
  Json factors = {{"algorithm", product("algorithm", kOnTop)},
                  {"system", product("system", kOnTop)},
                  {"product", product("", kOnTop)},
                  {"whole", all ? Json(*all) : Json()},
                  {"alone",
                   {{"algorithm", product("algorithm", kAlone)},
                    {"system", product("system", kAlone)},
                    {"product", product("", kAlone)}}}};
  const Baseline baseline;
  const Json& machine = ladder.at("machine");
  const double n = std::max(1.0, machine.at("threads").get<double>());
  const double bandwidth = machine.at("read_gb_per_s").get<double>() / n / baseline.gb_per_s;
  const double compute = machine.at("f32_gflops").get<double>() / n / baseline.f32_gflops;
  const Json* top = top_of(ladder);
  const bool reads = top && top->at("cumulative").at("bound").at("by") == "bandwidth";
  factors["machine"] = {{"baseline",
                         {{"name", baseline.name},
                          {"gb_per_s_of_a_core", baseline.gb_per_s},
                          {"f32_gflops_of_a_core", baseline.f32_gflops}}},
                        {"bandwidth_factor", bandwidth},
                        {"compute_factor", compute},
                        {"factor", reads ? bandwidth : compute},
                        {"by", reads ? "bandwidth" : "compute"}};
  return factors;
}

Json claims_of(const Json& ladder) {
  Json rows = Json::array();
  for (const Claim& claim : kClaims) {
    const Measured measured = claim.measure(ladder);
    rows.push_back({{"id", claim.id},
                    {"claim", claim.claim},
                    {"claimed", {claim.low, claim.high}},
                    {"unit", claim.unit},
                    {"measured", measured.value ? Json(*measured.value) : Json()},
                    {"measured_text", measured.text},
                    {"condition", claim.condition},
                    {"verdict", verdict(claim, measured.value)}});
  }
  if (Json toast = toast_row(ladder); !toast.is_null()) rows.push_back(std::move(toast));
  return rows;
}

}  // namespace farthing
