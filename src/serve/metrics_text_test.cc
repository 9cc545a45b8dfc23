#include "serve/metrics_text.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>

#include "base/json.h"
#include "base/mapped_file.h"

namespace farthing {
namespace {

// "name{labels}" -> value, of every sample line.
std::map<std::string, double> samples(const std::string& text) {
  std::map<std::string, double> out;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == '#') continue;
    const size_t space = line.rfind(' ');
    EXPECT_TRUE(out.emplace(line.substr(0, space), std::stod(line.substr(space + 1))).second)
        << "twice: " << line;
  }
  return out;
}

MetricsView view() {
  MetricsView v{.now = TimePoint(std::chrono::seconds(100)), .model = "m\"1"};
  v.engine.requests_received = 7;
  v.engine.requests_finished = {3, 2, 1, 0};
  v.engine.requests_running = 1;
  v.engine.sequences_running = 3;
  v.engine.wasted_busy_seconds[static_cast<size_t>(FinishReason::kCancelled)] = 2;
  v.engine.scheduler.drafts = 5;
  v.engine.scheduler.waits[static_cast<size_t>(WaitReason::kItl)] = 11;
  v.engine.scheduler.cuts[static_cast<size_t>(SliceCut::kChunk)] = 12;
  v.engine.scheduler.misses[static_cast<size_t>(CacheMiss::kEvicted)] = 13;
  v.engine.request_n.observe(2);
  v.engine.generated_tokens = 50;
  v.engine.wasted_tokens[static_cast<size_t>(FinishReason::kCancelled)] = 9;
  v.engine.scheduler.prompt_tokens_computed = 40;
  v.engine.scheduler.prompt_tokens_cached = 10;
  v.engine.scheduler.prompt_tokens_looked_up = 50;
  v.engine.prompt_busy_seconds = 1;
  v.engine.completion_busy_seconds = 3;
  for (double t : {0.0005, 0.001, 0.3, 1e4}) v.engine.time_to_first_token.observe(t);
  v.answers = {{200, 6}, {503, 2}};
  return v;
}

TEST(MetricsText, CountersAndGauges) {
  const auto s = samples(metrics_text(view()));
  EXPECT_EQ(s.at("farthing_requests_received_total"), 7);
  EXPECT_EQ(s.at("farthing_requests_finished_total{reason=\"length\"}"), 2);
  EXPECT_EQ(s.at("farthing_requests_running"), 1);
  EXPECT_EQ(s.at("farthing_sequences{state=\"running\"}"), 3);
  EXPECT_EQ(s.at("farthing_waits_total{reason=\"itl\"}"), 11);
  EXPECT_EQ(s.at("farthing_prefill_cuts_total{reason=\"chunk\"}"), 12);
  EXPECT_EQ(s.at("farthing_prefix_cache_misses_total{reason=\"evicted\"}"), 13);
  EXPECT_EQ(s.at("farthing_http_responses_total{status=\"503\"}"), 2);
  EXPECT_EQ(s.at("farthing_prompt_tokens_total{source=\"cache\"}"), 10);
  EXPECT_EQ(s.at("farthing_wasted_tokens_total{reason=\"cancelled\"}"), 9);
  EXPECT_EQ(s.at("farthing_busy_seconds_total{phase=\"completion\"}"), 3);
  EXPECT_EQ(s.count("farthing_cost_total{phase=\"idle\",currency=\"USD\"}"), 0u);
  for (const auto& [name, value] : s) EXPECT_TRUE(name.starts_with("farthing_")) << name;
}

TEST(MetricsText, HistogramsAreCumulative) {
  const auto s = samples(metrics_text(view()));
  const std::string name = "farthing_time_to_first_token_seconds";
  EXPECT_EQ(s.at(name + "_bucket{le=\"0.001\"}"), 2);  // a bound belongs to its bucket
  EXPECT_EQ(s.at(name + "_bucket{le=\"0.25\"}"), 2);
  EXPECT_EQ(s.at(name + "_bucket{le=\"0.5\"}"), 3);
  EXPECT_EQ(s.at(name + "_bucket{le=\"640\"}"), 3);
  EXPECT_EQ(s.at(name + "_bucket{le=\"+Inf\"}"), 4);
  EXPECT_EQ(s.at(name + "_count"), 4);
  EXPECT_NEAR(s.at(name + "_sum"), 10000.3015, 1e-6);
}

// 36 s at 3.60 an hour, 4 of them busy: 0.036, of which 0.004 used.
TEST(MetricsText, Money) {
  MetricsView v = view();
  v.ledger = Ledger{.price = *rented("EUR", per_hour(Money{3.6})),
                    .idle = Seconds{32},
                    .busy = {.prompt = Seconds{1}, .completion = Seconds{3}},
                    .prompt = Tokens{50},
                    .completion = Tokens{50}};
  const auto s = samples(metrics_text(v));
  const auto cost = [&](const char* phase) {
    return s.at(fmt::format("farthing_cost_total{{phase=\"{}\",currency=\"EUR\"}}", phase));
  };
  EXPECT_NEAR(cost("prompt"), 0.001, 1e-12);
  EXPECT_NEAR(cost("completion"), 0.003, 1e-12);
  EXPECT_NEAR(cost("prompt") + cost("completion") + cost("idle"), 0.036, 1e-12);
  EXPECT_NEAR(
      s.at("farthing_wasted_cost_total{reason=\"cancelled\",currency=\"EUR\"}"), 0.002, 1e-12);
  const auto price = [&](const char* basis, const char* tokens) {
    return s.at(fmt::format(
        "farthing_cost_per_million_tokens{{basis=\"{}\",tokens=\"{}\",currency=\"EUR\"}}",
        basis,
        tokens));
  };
  EXPECT_NEAR(price("used", "output"), 80, 1e-9);
  EXPECT_NEAR(price("reserved", "output"), 720, 1e-9);
  EXPECT_NEAR(price("used", "total"), 40, 1e-9);
  EXPECT_NEAR(price("reserved", "total"), 360, 1e-9);
}

TEST(MetricsText, EnergyIsMeasuredWhereItCanBe) {
  MetricsView v = view();
  MachinePrice price = *rented("EUR", per_hour(Money{3.6}));
  price.idle_power = price.busy_power = Watts{100};
  v.ledger = Ledger{.price = price,
                    .idle = Seconds{32},
                    .busy = {.prompt = Seconds{1}, .completion = Seconds{3}}};
  auto s = samples(metrics_text(v));
  EXPECT_NEAR(s.at("farthing_energy_joules_total{source=\"model\"}"), 3600, 1e-9);
  v.joules = 1234;
  s = samples(metrics_text(v));
  EXPECT_EQ(s.at("farthing_energy_joules_total{source=\"rapl\"}"), 1234);
  EXPECT_EQ(s.count("farthing_energy_joules_total{source=\"model\"}"), 0u);
}

TEST(MetricsText, UtilisationIsOfThePeak) {
  MetricsView v = view();
  EXPECT_EQ(samples(metrics_text(v)).count("farthing_bandwidth_utilisation_ratio"), 0u);
  v.peak = Work{.bytes = 100, .operations = 1000};
  v.engine.recent = {.sum = {.bytes = 500, .operations = 1000}, .at = v.now};
  const auto s = samples(metrics_text(v));
  EXPECT_DOUBLE_EQ(s.at("farthing_bandwidth_utilisation_ratio"), 0.5);
  EXPECT_DOUBLE_EQ(s.at("farthing_compute_utilisation_ratio"), 0.1);
}

TEST(MetricsText, Drafts) {
  MetricsView v = view();
  v.engine.scheduler.drafts = 4;
  v.engine.scheduler.drafted_tokens = 9;
  v.engine.scheduler.accepted_tokens = 5;
  v.engine.scheduler.drafter_seconds = 0.25;
  v.engine.drafts.drafted_at = {4, 3, 2};
  v.engine.drafts.accepted_at = {4, 1, 0};
  v.engine.drafts.steps = 4;
  v.engine.drafts.tokens = 9;
  v.engine.drafts.seconds = 2;
  v.engine.drafts.plain_seconds = 3;
  v.vllm_names = true;
  const auto s = samples(metrics_text(v));
  const std::string name = "farthing_spec_decode_";
  EXPECT_EQ(s.at(name + "drafts_total"), 4);
  EXPECT_EQ(s.at(name + "drafted_tokens_total"), 9);
  EXPECT_EQ(s.at(name + "accepted_tokens_total"), 5);
  EXPECT_EQ(s.at(name + "drafted_tokens_per_position_total{position=\"1\"}"), 3);
  EXPECT_EQ(s.at(name + "accepted_tokens_per_position_total{position=\"0\"}"), 4);
  EXPECT_EQ(s.at(name + "accepted_tokens_per_position_total{position=\"14\"}"), 0);
  EXPECT_EQ(s.at(name + "steps_total"), 4);
  EXPECT_EQ(s.at(name + "tokens_total"), 9);
  EXPECT_EQ(s.at(name + "step_seconds_total"), 2);
  EXPECT_EQ(s.at(name + "plain_seconds_total"), 3);
  EXPECT_EQ(s.at(name + "drafter_seconds_total"), 0.25);
  EXPECT_EQ(s.at("vllm:spec_decode_num_drafts_total{model_name=\"m\\\"1\",engine=\"0\"}"), 4);
}

TEST(MetricsText, VllmNames) {
  MetricsView v = view();
  v.vllm_names = true;
  const auto s = samples(metrics_text(v));
  const std::string labels = "{model_name=\"m\\\"1\",engine=\"0\"";
  EXPECT_EQ(s.at("vllm:num_requests_running" + labels + "}"), 3);
  EXPECT_EQ(s.at("vllm:spec_decode_num_drafts_total" + labels + "}"), 5);
  EXPECT_EQ(s.at("vllm:request_params_n_sum" + labels + "}"), 2);
  for (const char* name : {"request_inference_time_seconds",
                           "request_max_num_generation_tokens",
                           "request_params_max_tokens"})
    EXPECT_EQ(s.at("vllm:" + std::string(name) + "_count" + labels + "}"), 0);
  EXPECT_EQ(s.at("vllm:cache_config_info" + labels +
                 ",block_size=\"32\",num_gpu_blocks=\"0\",num_cpu_blocks=\"0\","
                 "cache_dtype=\"f16\",enable_prefix_caching=\"True\"}"),
            1);
  EXPECT_EQ(s.at("vllm:generation_tokens_total" + labels + "}"), 50);
  EXPECT_EQ(s.at("vllm:prompt_tokens_total" + labels + "}"), 50);
  EXPECT_EQ(s.at("vllm:request_success_total" + labels + ",finished_reason=\"stop\"}"), 3);
  EXPECT_EQ(s.at("vllm:time_to_first_token_seconds_count" + labels + "}"), 4);
}

// docs/grafana.json asks for what there is, and shows all of it.
TEST(MetricsText, TheDashboardShowsEveryFamily) {
  MetricsView v = view();
  MachinePrice price = *rented("EUR", per_hour(Money{3.6}));
  price.idle_power = price.busy_power = Watts{100};
  v.ledger = Ledger{.price = price,
                    .idle = Seconds{32},
                    .busy = {.prompt = Seconds{1}, .completion = Seconds{3}}};
  v.peak = Work{.bytes = 1, .operations = 1};
  const std::string text = metrics_text(v);
  std::set<std::string> families, shown;
  const std::regex type_line("# TYPE (farthing_[a-z0-9_]+) ");
  for (std::sregex_iterator it(text.begin(), text.end(), type_line), end; it != end; ++it)
    families.insert((*it)[1]);
  const auto file = read_file(FARTHING_SOURCE_DIR "/docs/grafana.json", 1 << 20);
  ASSERT_TRUE(file);
  const std::regex name("farthing_[a-z0-9_]+");
  const Json dashboard = Json::parse(*file);
  for (const Json& panel : dashboard["panels"]) {
    if (!panel.contains("targets")) continue;
    for (const Json& target : panel["targets"]) {
      const std::string expr = target["expr"];
      for (std::sregex_iterator it(expr.begin(), expr.end(), name), end; it != end; ++it)
        shown.insert(std::regex_replace(it->str(), std::regex("_bucket$"), ""));
    }
  }
  EXPECT_EQ(shown, families);
}

}  // namespace
}  // namespace farthing
