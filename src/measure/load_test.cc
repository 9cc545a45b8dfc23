#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <set>

#include "measure/load_report.h"
#include "measure/workload.h"

namespace farthing {
namespace {

TEST(Workload, SameSeedSameRequests) {
  const WorkloadOptions options{.n_requests = 20, .range_ratio = 0.5, .rate = 3, .seed = 4};
  const auto a = make_workload(options), b = make_workload(options);
  ASSERT_TRUE(a && b);
  for (size_t i = 0; i < a->size(); ++i) {
    EXPECT_EQ((*a)[i].tokens, (*b)[i].tokens);
    EXPECT_EQ((*a)[i].at, (*b)[i].at);
    EXPECT_EQ((*a)[i].n_output, (*b)[i].n_output);
  }
}

TEST(Workload, LengthsPrefixesAndTokens) {
  const auto requests = make_workload({.n_requests = 200,
                                       .n_input = 10,
                                       .n_output = 20,
                                       .range_ratio = 0.5,
                                       .n_prefix = 8,
                                       .n_prefixes = 2,
                                       .vocab_size = 1000});
  ASSERT_TRUE(requests);
  std::set<std::vector<int32_t>> prefixes, whole;
  for (const LoadRequest& r : *requests) {
    EXPECT_GE(r.tokens.size(), 8u + 5);
    EXPECT_LE(r.tokens.size(), 8u + 15);
    EXPECT_GE(r.n_output, 10);
    EXPECT_LE(r.n_output, 30);
    EXPECT_EQ(r.at, 0);
    for (const int32_t token : r.tokens) EXPECT_TRUE(token >= 0 && token < 1000);
    prefixes.insert({r.tokens.begin(), r.tokens.begin() + 8});
    whole.insert(r.tokens);
  }
  EXPECT_EQ(prefixes.size(), 2u);
  EXPECT_EQ(whole.size(), 200u);
}

// Gaps of a gamma distribution: mean 1 / rate, variance mean^2 / shape.
TEST(Workload, ArrivalsHaveTheRateAndBurstiness) {
  for (const double shape : {0.25, 1.0, 4.0}) {
    const auto requests =
        make_workload({.n_requests = 20000, .n_input = 1, .rate = 5, .burstiness = shape});
    ASSERT_TRUE(requests);
    std::vector<double> gaps;
    for (size_t i = 1; i < requests->size(); ++i)
      gaps.push_back((*requests)[i].at - (*requests)[i - 1].at);
    const double mean =
        std::accumulate(gaps.begin(), gaps.end(), 0.0) / static_cast<double>(gaps.size());
    double squares = 0;
    for (const double gap : gaps) squares += (gap - mean) * (gap - mean);
    EXPECT_NEAR(mean, 0.2, 0.02) << shape;
    EXPECT_NEAR(squares / static_cast<double>(gaps.size()) * shape / 0.04, 1, 0.15) << shape;
  }
}

TEST(Workload, RefusesWhatCannotBe) {
  EXPECT_FALSE(make_workload({.n_requests = 0}));
  EXPECT_FALSE(make_workload({.n_input = 0}));
  EXPECT_FALSE(make_workload({.range_ratio = 1}));
  EXPECT_FALSE(make_workload({.rate = 0}));
  EXPECT_FALSE(make_workload({.rate = std::nan("")}));
  EXPECT_FALSE(make_workload({.rate = 1, .burstiness = 0}));
}

TEST(Workload, MooncakeSharesBlocks) {
  const auto requests = mooncake_workload(
      "{\"timestamp\": 2000, \"input_length\": 1030, \"output_length\": 7, \"hash_ids\": [1, 2, "
      "3]}\n"
      "\n"
      "{\"timestamp\": 1500, \"input_length\": 600, \"output_length\": 9, \"hash_ids\": [1, 4]}\n",
      {});
  ASSERT_TRUE(requests) << requests.error().message;
  ASSERT_EQ(requests->size(), 2u);
  const LoadRequest &first = (*requests)[0], &second = (*requests)[1];
  EXPECT_EQ(first.at, 0);
  EXPECT_EQ(second.at, 0.5);
  EXPECT_EQ(first.tokens.size(), 600u);
  EXPECT_EQ(second.tokens.size(), 1030u);
  EXPECT_EQ(second.n_output, 7);
  EXPECT_TRUE(std::equal(first.tokens.begin(), first.tokens.begin() + 512, second.tokens.begin()));
  EXPECT_NE(first.tokens[512], second.tokens[512]);
}

// Another seed is another prompt throughout: what one run left in a cache is of no use to the next.
TEST(Workload, MooncakeBlocksDependOnSeedAndBlockApart) {
  const auto tokens = [](const char* ids, uint64_t seed) {
    const auto requests = mooncake_workload(
        fmt::format(R"({{"timestamp":1,"input_length":600,"output_length":1,"hash_ids":[{}]}})",
                    ids),
        {.seed = seed});
    EXPECT_TRUE(requests);
    return requests->front().tokens;
  };
  const auto differ = [](const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
    return !std::equal(a.begin(), a.begin() + 512, b.begin()) &&
           !std::equal(a.begin() + 512, a.end(), b.begin() + 512);
  };
  EXPECT_TRUE(differ(tokens("5", 1), tokens("5", 2)));
  EXPECT_TRUE(differ(tokens("5", 1), tokens("4", 2)));
  EXPECT_TRUE(differ(tokens("5", 2), tokens("6", 1)));
  EXPECT_EQ(tokens("5", 1), tokens("5", 1));
}

TEST(Workload, BadTracesNameTheLine) {
  const auto fault = [](const char* text) {
    const auto requests = mooncake_workload(text, {});
    return requests ? std::string() : requests.error().message;
  };
  const std::string good =
      R"({"timestamp": 1, "input_length": 3, "output_length": 7, "hash_ids": []})";
  EXPECT_NE(fault((good + "\n{}").c_str()).find("line 2"), std::string::npos);
  EXPECT_NE(fault("nonsense").find("line 1"), std::string::npos);
  EXPECT_NE(fault(R"({"timestamp":1,"input_length":99999999999,"output_length":1})").find("line 1"),
            std::string::npos);
  EXPECT_NE(fault(R"({"timestamp":1,"input_length":5,"output_length":1,"hash_ids":["a"]})")
                .find("hash_ids"),
            std::string::npos);
  EXPECT_NE(fault("").find("no request"), std::string::npos);
  for (const char* text : {"{}", "[]", "[1]", R"([{"conversations":[{"value":"a"}]}])", "["})
    EXPECT_FALSE(sharegpt_workload(text, {})) << text;
}

TEST(Workload, ShareGpt) {
  const auto requests = sharegpt_workload(
      R"([{"conversations":[{"from":"human","value":"Hi?"},{"from":"gpt","value":"12345678"}]},
          {"conversations":[]}])",
      {});
  ASSERT_TRUE(requests);
  ASSERT_EQ(requests->size(), 1u);
  EXPECT_EQ((*requests)[0].text, "Hi?");
  EXPECT_EQ((*requests)[0].n_output, 2);
}

TEST(LoadReport, PercentilesInterpolate) {
  EXPECT_EQ(percentile({}, 50), 0);
  EXPECT_EQ(percentile({3}, 99), 3);
  EXPECT_EQ(percentile({4, 1, 3, 2}, 50), 2.5);
  EXPECT_NEAR(percentile({1, 2, 3, 4, 5}, 90), 4.6, 1e-12);
}

// Two answers: 3 tokens, first after 0.1 s, then gaps of 0.2 and 0.4 s; 1 token after 0.3 s. One
// was refused.
TEST(LoadReport, FormulasByHand) {
  LoadRun run{.seconds = 2, .cpu_seconds = 0.5, .most_at_once = 2};
  run.outcomes = {{.sent = 0,
                   .ttft = 0.1,
                   .latency = 0.7,
                   .gaps = {0.2, 0.4},
                   .n_input = 10,
                   .n_output = 3,
                   .n_cached = 4,
                   .cost = 0.25,
                   .currency = "EUR",
                   .queued = 0.05,
                   .text = "Hi",
                   .status = 200},
                  {.sent = 1,
                   .ttft = 0.3,
                   .latency = 0.3,
                   .n_input = 20,
                   .n_output = 1,
                   .cost = 0.75,
                   .currency = "EUR",
                   .status = 200},
                  {.status = 503, .error = "full"}};
  LoadReportOptions options{.slo = {.ttft = 200}};
  const Json r = load_json(run, options);
  EXPECT_EQ(r["completed"], 2);
  EXPECT_EQ(r["failed"], 1);
  EXPECT_EQ(r["failed_by_status"]["503"], 1);
  EXPECT_EQ(r["total_input_tokens"], 30);
  EXPECT_EQ(r["total_output_tokens"], 4);
  EXPECT_EQ(r["request_throughput"], 1.0);
  EXPECT_EQ(r["request_goodput"], 0.5);
  EXPECT_EQ(r["output_throughput"], 2.0);
  EXPECT_EQ(r["total_token_throughput"], 17.0);
  EXPECT_EQ(r["max_output_tokens_per_s"], 3);
  EXPECT_NEAR(r["mean_ttft_ms"].get<double>(), 200, 1e-9);
  EXPECT_NEAR(r["std_ttft_ms"].get<double>(), 100, 1e-9);
  EXPECT_NEAR(r["mean_tpot_ms"].get<double>(), 300, 1e-9);
  EXPECT_NEAR(r["median_itl_ms"].get<double>(), 300, 1e-9);
  EXPECT_NEAR(r["p99_itl_ms"].get<double>(), 398, 1e-9);
  EXPECT_NEAR(r["mean_e2el_ms"].get<double>(), 500, 1e-9);
  EXPECT_NEAR(r["cost"]["per_million_output_tokens"].get<double>(), 250000, 1e-6);
  EXPECT_FALSE(r.contains("ttfts"));
  EXPECT_TRUE(r["label"].is_null());
  options.details = true;
  options.label = "mine";
  const Json details = load_json(run, options);
  EXPECT_EQ(details["label"], "mine");
  EXPECT_EQ(details["ttfts"].size(), 3u);
  EXPECT_EQ(details["queue_times"], Json::parse("[0.05,0,0]"));
  EXPECT_EQ(details["generated_texts"], Json::parse(R"(["Hi","",""])"));
  const std::string table = load_table(r);
  EXPECT_NE(table.find("TPOT"), std::string::npos);
  EXPECT_NE(table.find("failed, 503: 1"), std::string::npos);
}

TEST(LoadReport, NothingAnswered) {
  const LoadRun run{.outcomes = {{.error = "no"}}, .seconds = 1};
  const Json r = load_json(run, {});
  EXPECT_EQ(r["completed"], 0);
  EXPECT_FALSE(load_table(r).empty());
}

}  // namespace
}  // namespace farthing
