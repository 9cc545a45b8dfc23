// The ladder's table of rungs, its plan, its arithmetic and claims: all pure.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "engine/loaded_model.h"
#include "load/model_file.h"
#include "measure/ladder_claims.h"
#include "measure/ladder_plan.h"
#include "measure/ladder_rungs.h"
#include "measure/ladder_workload.h"

namespace farthing {
namespace {

using testing::Each;
using testing::ElementsAre;

constexpr LadderMachine kMachine{.isa = Isa::kAvx2, .n_threads = 2};
constexpr LadderService kService{.n_clients = 6, .context = 256, .itl_target = 0.1};
constexpr RungSet kAll = ~RungSet{0};

TEST(Rungs, EachIsExplainedAndStandsOnRungsBelowIt) {
  std::set<std::string_view> ids;
  for (size_t i = 0; i < all_rungs().size(); ++i) {
    const Rung& rung = all_rungs()[i];
    EXPECT_TRUE(ids.insert(rung.id).second) << rung.id;
    EXPECT_EQ(std::ranges::count(rung.what, '.'), 2) << rung.id << ": two sentences";
    EXPECT_FALSE(rung.flags.empty());
    for (const std::string_view need : rung.needs) EXPECT_TRUE(need.empty() || ids.contains(need));
  }
  EXPECT_EQ(all_rungs().size(), 13u);
}

TEST(Rungs, BottomIsNaiveAndTopHasEverything) {
  const LadderSetting bottom = setting_of(0, kMachine, kService);
  EXPECT_EQ(bottom.weights, WeightMode::kF32);
  EXPECT_FALSE(bottom.engine.kv_cache);
  EXPECT_EQ(bottom.engine.isa, Isa::kRef);
  EXPECT_EQ(bottom.engine.n_threads, 1);
  EXPECT_EQ(bottom.engine.max_sequences, 1);
  EXPECT_EQ(bottom.engine.batching, Batching::kOff);
  EXPECT_EQ(bottom.engine.attention, AttentionMode::kNaive);
  EXPECT_FALSE(bottom.engine.paged || bottom.engine.prefix_cache);
  EXPECT_GE(bottom.engine.chunk, 1 << 24);

  const LadderSetting top = setting_of(kAll, kMachine, kService);
  EXPECT_EQ(top.weights, WeightMode::kNative);
  EXPECT_TRUE(top.engine.kv_cache && top.engine.paged && top.engine.prefix_cache);
  EXPECT_EQ(top.engine.isa, Isa::kAvx2);
  EXPECT_EQ(top.engine.n_threads, 2);
  EXPECT_EQ(top.engine.max_sequences, 6);
  EXPECT_EQ(top.engine.attention, AttentionMode::kFlash);
  EXPECT_EQ(top.engine.kv_type, KVType::kInt8);
  EXPECT_EQ(top.engine.speculate, Speculation::kSuffix);
  EXPECT_EQ(top.engine.itl_target, 0.1);
}

TEST(Rungs, RowsAddOneRungAtATimeAndKeepToWhatIsUsable) {
  const std::vector<LadderRow> rows = ladder_rows(kAll);
  ASSERT_EQ(rows.size(), all_rungs().size());
  for (size_t i = 1; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i].cumulative, rows[i - 1].cumulative | rung_bit(i));
    EXPECT_EQ(rows[i].with, rows[i].without | rung_bit(i));
    EXPECT_EQ(rows[i].without, rung_bit(0) | needs_of(i));
  }
  const size_t slo = rung_index("slo-scheduling");
  EXPECT_EQ(names_of(needs_of(slo)), "kv-cache+continuous-batching+chunked-prefill");
  const RungSet no_simd = kAll & ~rung_bit(rung_index("simd"));
  for (const LadderRow& row : ladder_rows(no_simd)) {
    EXPECT_NE(all_rungs()[row.rung].id, "simd");
    EXPECT_EQ((row.cumulative | row.with | row.without) & rung_bit(rung_index("simd")), 0u);
  }
}

TEST(Rungs, NamesComeBack) {
  const RungSet some = rung_bit(0) | rung_bit(3) | rung_bit(12);
  EXPECT_EQ(names_of(some), "naive+threads+slo-scheduling");
  EXPECT_EQ(*rungs_from_names(names_of(some)), some);
  EXPECT_EQ(*rungs_from_names(""), 0u);
  EXPECT_EQ(rungs_from_names("naive+quantum").error().kind, ErrorKind::kBadInput);
}

LadderRequest request(int32_t n_shared, int32_t n_own, int32_t n_answer) {
  LadderRequest r{.n_shared = n_shared, .n_answer = n_answer};
  r.prompt.resize(static_cast<size_t>(n_shared + n_own));
  std::iota(r.prompt.begin(), r.prompt.end(), 0);
  return r;
}

TEST(Plan, WorkByHand) {
  // Three steps behind the first token. Without a cache they compute 10 + 1, 10 + 2, 10 + 3.
  const LadderRequest r = request(4, 6, 4);
  EXPECT_EQ(work_of(r, true).prompt, 10);
  EXPECT_EQ(work_of(r, true).answer, 3);
  EXPECT_EQ(work_of(r, false).answer, 36);
  const LadderPace pace{.prompt = 2, .answer = 0.5};
  EXPECT_EQ(pace.seconds(work_of(r, true)), 21.5);
}

TEST(Plan, CutsKeepBeginnings) {
  const LadderRequest r = request(4, 6, 20).cut(0.5);
  EXPECT_THAT(r.prompt, ElementsAre(0, 1, 4, 5, 6));
  EXPECT_EQ(r.n_shared, 2);
  EXPECT_EQ(r.n_answer, 10);
  const LadderRequest least = request(4, 6, 20).cut(0.001);
  EXPECT_THAT(least.prompt, ElementsAre(0, 4));
  EXPECT_EQ(least.n_answer, 2);
  EXPECT_EQ(request(0, 6, 1).cut(0.5).n_shared, 0);
  EXPECT_EQ(request(0, 6, 1).cut(0.5).n_answer, 1);
}

TEST(Plan, SlicesTakeWholeRequestsThenPartsThenTheLeast) {
  const std::vector<LadderRequest> all(8, request(4, 6, 11));  // 10 + 10 seconds each
  const LadderPace pace{.prompt = 1, .answer = 1};
  EXPECT_TRUE(fit_slice(all, pace, true, 1, 160).whole(all));
  EXPECT_EQ(fit_slice(all, pace, true, 1, 159), (LadderSlice{.n_requests = 7}));
  EXPECT_EQ(fit_slice(all, pace, true, 1, 20), (LadderSlice{.n_requests = 1}));
  EXPECT_EQ(fit_slice(all, pace, true, 4, 80), (LadderSlice{.n_requests = 4}));
  const LadderSlice part = fit_slice(all, pace, true, 4, 50);
  EXPECT_EQ(part.n_requests, 4);
  EXPECT_LT(part.lengths, 1);
  EXPECT_LE(pace.seconds(work_of(cut(all, part), true)), 50);
  const LadderSlice least = fit_slice(all, pace, true, 4, 0);
  EXPECT_EQ(least.n_requests, 4);
  EXPECT_EQ(work_of(cut(all, least), true).prompt, 8);
  // More time never gives less.
  double before = 0;
  for (double seconds = 0; seconds < 170; seconds += 3) {
    const LadderSlice slice = fit_slice(all, pace, false, 2, seconds);
    const double now = pace.seconds(work_of(cut(all, slice), false));
    EXPECT_GE(now, before);
    before = now;
  }
}

TEST(Plan, SharesByHand) {
  EXPECT_THAT(share_out(std::vector{1.0, 9.0, 4.0}, 9), ElementsAre(1, 4, 4));
  EXPECT_THAT(share_out(std::vector{1.0, 2.0}, 100), ElementsAre(1, 2));
  EXPECT_THAT(share_out(std::vector{1.0, 2.0}, -1), Each(0));
  EXPECT_TRUE(share_out({}, 5).empty());
  for (double total : {0.5, 3.0, 11.0}) {
    const std::vector<double> shares = share_out(std::vector{5.0, 0.1, 2.0, 7.0}, total);
    EXPECT_NEAR(std::accumulate(shares.begin(), shares.end(), 0.0), total, 1e-12);
  }
}

TEST(Plan, ClientsWaitForEachOther) {
  // Two clients, each request 1 s to the first token and 2 s more: 0-3, 3-6, 6-9.
  const std::vector<ServiceTime> services(3, {.prompt = 1, .answer = 2});
  const std::vector<ClientTime> two = serve_in_turn(services, 2);
  ASSERT_EQ(two.size(), 3u);
  EXPECT_EQ(two[0].ttft, 1);
  EXPECT_EQ(two[1].ttft, 4);  // came at 0, too
  EXPECT_EQ(two[2].ttft, 4);  // came at 3, when the first client had its answer
  EXPECT_EQ(two[2].e2e, 6);
  for (const ClientTime& alone : serve_in_turn(services, 1)) EXPECT_EQ(alone.ttft, 1);
  EXPECT_TRUE(serve_in_turn({}, 4).empty());
}

TEST(Plan, IntervalsByHand) {
  // 1, 2, 3: mean 2, deviation 1, t = 4.303: 4.303 / sqrt(3).
  const Estimate mean = mean_of(std::vector{1.0, 2.0, 3.0});
  EXPECT_EQ(mean.value, 2);
  EXPECT_NEAR(mean.high, 2 + 4.303 / std::sqrt(3.0), 1e-9);
  EXPECT_NEAR(mean.low, 2 - 4.303 / std::sqrt(3.0), 1e-9);
  EXPECT_TRUE(std::isnan(mean_of(std::vector{1.0}).low));
  EXPECT_TRUE(std::isnan(mean_of({}).value));
  // Pairs that all have one ratio leave no doubt, however far apart they are.
  const Estimate ratio = ratio_of(std::vector{2.0, 20.0, 8.0}, std::vector{1.0, 10.0, 4.0});
  EXPECT_NEAR(ratio.value, 2, 1e-12);
  EXPECT_NEAR(ratio.low, 2, 1e-9);
  EXPECT_NEAR(ratio.high, 2, 1e-9);
  EXPECT_TRUE(agree({2, 1, 3}, {3.5, 2.5, 4}));
  EXPECT_FALSE(agree({2, 1, 3}, {3.5, 3.1, 4}));
  EXPECT_TRUE(agree(mean_of(std::vector{1.0}), {3.5, 3.1, 4}));
}

class Workloads : public testing::Test {
 protected:
  static Tokenizer tokenizer() {
    auto file = open_model_file(FARTHING_SOURCE_DIR "/tests/golden/model/llama-gqa.gguf");
    return *make_tokenizer(*file);
  }
};

TEST_F(Workloads, AreWhatTheySayAndTheSameEveryTime) {
  const Tokenizer t = tokenizer();
  for (const LadderWorkload& w : all_workloads()) {
    EXPECT_EQ(find_workload(w.id), &w);
    EXPECT_FALSE(w.source.empty());
    const auto made = make_requests(w, t, 1 << 20, 7);
    ASSERT_TRUE(made) << made.error().message;
    EXPECT_EQ(made->shrunk, 1);
    ASSERT_EQ(made->requests.size(), static_cast<size_t>(w.n_requests));
    std::set<std::vector<TokenId>> prompts;
    for (const LadderRequest& r : made->requests) {
      const auto n_own = static_cast<int32_t>(r.prompt.size()) - r.n_shared;
      EXPECT_EQ(r.n_shared, w.n_shared);
      EXPECT_TRUE(std::equal(
          r.prompt.begin(), r.prompt.begin() + r.n_shared, made->requests[0].prompt.begin()));
      EXPECT_GE(n_own, w.prompt.least);
      EXPECT_LE(n_own, w.prompt.most);
      EXPECT_GE(r.n_answer, w.answer.least);
      EXPECT_LE(r.n_answer, w.answer.most);
      prompts.insert(r.prompt);
    }
    EXPECT_GT(prompts.size(), made->requests.size() / 2) << w.id;
    const auto again = make_requests(w, t, 1 << 20, 7), other = make_requests(w, t, 1 << 20, 8);
    EXPECT_EQ(again->requests[1].prompt, made->requests[1].prompt);
    EXPECT_EQ(again->requests[1].seed, made->requests[1].seed);
    EXPECT_NE(other->requests[1].seed, made->requests[1].seed);
  }
  EXPECT_EQ(find_workload("video"), nullptr);
}

TEST_F(Workloads, ShrinkToTheContext) {
  const Tokenizer t = tokenizer();
  const LadderWorkload& rag = *find_workload("rag");
  for (const int32_t context : {8, 64, 200}) {
    const auto made = make_requests(rag, t, context, 1);
    ASSERT_TRUE(made) << made.error().message;
    EXPECT_LT(made->shrunk, 1);
    for (const LadderRequest& r : made->requests)
      EXPECT_LE(static_cast<int32_t>(r.prompt.size()) + r.n_answer, context);
  }
  EXPECT_EQ(make_requests(rag, t, 7, 1).error().kind, ErrorKind::kUsage);
}

// A ladder of three rungs with figures that are easy to multiply.
Json small_ladder() {
  const auto rung = [](const char* id, const char* kind, double step, double alone, double whole) {
    return Json{{"id", id},
                {"kind", kind},
                {"measured", true},
                {"factor", {{"value", step}}},
                {"factor_from_bottom", {{"value", whole}}},
                {"alone", {{"factor", {{"value", alone}}}}},
                {"cumulative",
                 {{"bound", {{"by", "bandwidth"}}},
                  {"ttft_seconds", {{"p50", {{"value", 100 / whole}}}}},
                  {"requests_per_second", {{"value", whole}}},
                  {"kv_memory_bytes", 1000}}}};
  };
  Json bottom = rung("naive", "bottom", 1, 1, 1);
  bottom.erase("factor");
  bottom.erase("alone");
  return {{"rungs",
           {bottom,
            rung("kv-cache", "algorithm", 10, 10, 10),
            rung("int4", "algorithm", 2, 3, 20),
            rung("continuous-batching", "system", 2, 1.5, 40)}},
          {"machine",
           {{"threads", 2},
            {"read_gb_per_s", 25.6},
            {"f32_gflops", 204.8},
            {"currency", "USD"},
            {"price_per_hour", 3.6}}},
          {"workload", {{"queries_per_day", 0}}}};
}

TEST(Claims, FactorsMultiplyByKind) {
  const Json f = factors_of(small_ladder());
  EXPECT_EQ(f["algorithm"], 20);
  EXPECT_EQ(f["system"], 2);
  EXPECT_EQ(f["product"], 40);
  EXPECT_EQ(f["whole"], 40);
  EXPECT_EQ(f["alone"]["product"], 45);
  // 12.8 GB/s and 102.4 GFLOP/s a core against 6.4 and 102.4.
  EXPECT_NEAR(f["machine"]["bandwidth_factor"].get<double>(), 2, 1e-12);
  EXPECT_NEAR(f["machine"]["compute_factor"].get<double>(), 1, 1e-12);
  EXPECT_NEAR(f["machine"]["factor"].get<double>(), 2, 1e-12);
}

TEST(Claims, VerdictsFollowFromFigures) {
  Json ladder = small_ladder();
  ladder["factors"] = factors_of(ladder);
  std::map<std::string, Json> rows;
  for (const Json& row : claims_of(ladder)) rows[row["id"]] = row;
  EXPECT_EQ(rows["T5a"]["verdict"], "not here");  // x2 of 5
  EXPECT_EQ(rows["T5a"]["measured"], 2);
  EXPECT_EQ(rows["T5b"]["verdict"], "not measured");  // no such rung
  EXPECT_TRUE(rows["T5b"]["measured"].is_null());
  EXPECT_EQ(rows["T5c"]["verdict"], "not here");
  EXPECT_EQ(rows["F1a"]["verdict"], "not measured");
  EXPECT_EQ(rows["E4d"]["verdict"], "holds here");  // x40 of 30
  EXPECT_EQ(rows["E4b"]["verdict"], "more than claimed");
  EXPECT_EQ(rows["E3a"]["verdict"], "more than claimed");
  EXPECT_NEAR(rows["R5"]["measured"].get<double>(), 97.5, 1e-9);
  EXPECT_EQ(rows["R5"]["verdict"], "holds here");
  EXPECT_NEAR(rows["E4"]["measured"].get<double>(), 80, 1e-9);
  EXPECT_FALSE(rows.contains("T2"));
  // 3.6 an hour is 0.001 a second, for 40 queries in it.
  ladder["workload"]["queries_per_day"] = 500000;
  const Json toast = claims_of(ladder).back();
  EXPECT_EQ(toast["id"], "T2");
  EXPECT_NEAR(toast["measured"].get<double>(), 0.001 / 40, 1e-15);
  EXPECT_EQ(toast["verdict"], "holds here");
}

}  // namespace
}  // namespace farthing
