// The ladder on toy models: rungs that change nothing give the same answers, a whole ladder becomes
// figures, and what was measured outlives an interrupt.
#include "measure/ladder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "measure/ladder_report.h"
#include "measure/ladder_state.h"

namespace farthing {
namespace {

using testing::HasSubstr;
using testing::Not;

const std::string kToy = FARTHING_SOURCE_DIR "/tests/golden/model/llama-types.gguf";
constexpr LadderMachine kMachine{.isa = Isa::kRef, .n_threads = 2};

bool never() {
  return false;
}

std::vector<LadderRequest> requests_for(const LoadedModel& model, int32_t context) {
  return make_requests(*find_workload("chat"), model.tokenizer, context, 3)->requests;
}

LadderRun run_of(std::span<const LadderRequest> all, LadderSlice slice) {
  return {.all = all, .slice = slice, .n_clients = 4, .temperature = 0.7f};
}

// Float32 throughout, so that the order of sums is all that could differ; it doesn't for any of
// those that claim so. Those that change numbers are left out of both.
TEST(LadderRun, RungsThatChangeNoNumbersChangeNoAnswer) {
  const auto model = *load_model(kToy, {.weights = WeightMode::kF32});
  const std::vector<LadderRequest> all = requests_for(*model, 100);
  const LadderSlice slice{.n_requests = 5};
  const LadderService service{.n_clients = 4, .context = 101, .itl_target = 0.05};
  RungSet usable = 0;
  for (size_t i = 0; i < all_rungs().size(); ++i)
    if (!all_rungs()[i].changes_numbers) usable |= rung_bit(i);
  std::vector<std::vector<TokenId>> answers;
  for (const LadderRow& row : ladder_rows(usable)) {
    for (const RungSet rungs : {row.cumulative, row.with}) {
      if (rungs == 0) continue;
      const auto sample = run_ladder_setting(
          *model, setting_of(rungs, kMachine, service), run_of(all, slice), nullptr, never);
      ASSERT_TRUE(sample) << sample.error().message;
      if (answers.empty()) answers = sample->answers;
      EXPECT_EQ(sample->answers, answers) << names_of(rungs);
      for (size_t i = 0; i < answers.size(); ++i)
        EXPECT_EQ(static_cast<int32_t>(answers[i].size()), all[i].n_answer);
    }
  }
}

TEST(LadderRun, SlicesSpeakForTheWhole) {
  const auto model = *load_model(kToy, {.weights = WeightMode::kF32});
  const std::vector<LadderRequest> all = requests_for(*model, 100);
  const LadderService service{.n_clients = 4, .context = 101};
  for (const RungSet rungs : {rung_bit(0), rung_bit(0) | rung_bit(1)}) {
    const LadderSetting setting = setting_of(rungs, kMachine, service);
    const auto part = run_ladder_setting(
        *model, setting, run_of(all, {.n_requests = 2, .lengths = 0.5}), nullptr, never);
    ASSERT_TRUE(part) << part.error().message;
    EXPECT_TRUE(part->scaled);
    // The whole takes what its tokens take at the slice's pace.
    const double seconds = part->pace.seconds(work_of(all, setting.engine.kv_cache));
    EXPECT_NEAR(part->wall, seconds, 1e-9 * seconds);
    EXPECT_GE(part->ttft_p99, part->ttft_p50);
    EXPECT_EQ(part->answers.size(), 2u);
  }
  const auto whole =
      run_ladder_setting(*model,
                         setting_of(rung_bit(0) | rung_bit(1), kMachine, service),
                         run_of(all, {.n_requests = static_cast<int32_t>(all.size())}),
                         nullptr,
                         never);
  ASSERT_TRUE(whole);
  EXPECT_FALSE(whole->scaled);
  EXPECT_LE(whole->wall, whole->spent);
  EXPECT_GT(whole->memory, whole->kv_memory + model->model->weights.tiles_bytes);
}

TEST(LadderRun, StopsWhenItIsTold) {
  const auto model = *load_model(kToy, {.weights = WeightMode::kF32});
  const std::vector<LadderRequest> all = requests_for(*model, 1000);
  int n_asked = 0;
  const auto run = run_ladder_setting(*model,
                                      setting_of(0, kMachine, {.n_clients = 4, .context = 1000}),
                                      run_of(all, {.n_requests = 12}),
                                      nullptr,
                                      [&] { return ++n_asked > 1; });
  ASSERT_FALSE(run);
  EXPECT_EQ(run.error().kind, ErrorKind::kInterrupted);
}

class WholeLadder : public testing::Test {
 protected:
  WholeLadder() : folder_(testing::TempDir() + "farthing_ladder_XXXXXX") {
    EXPECT_NE(mkdtemp(folder_.data()), nullptr);
    options_.model = kToy;
    options_.workload = find_workload("toast");
    options_.budget = 3600;  // the toy takes seconds of it
    options_.rounds = 2;
    options_.engine.context = 120;
    options_.engine.n_threads = 2;
    options_.resume = folder_ + "/state.json";
  }
  ~WholeLadder() override { std::filesystem::remove_all(folder_); }

  Result<LadderResult> run(std::function<bool()> stop = never) {
    return run_ladder(options_,
                      {.progress =
                           [&](const std::string&, double left) {
                             ++n_said_;
                             EXPECT_TRUE(std::isfinite(left));
                           },
                       .stop = std::move(stop)});
  }

  std::string folder_;
  LadderOptions options_;
  int n_said_ = 0;
};

TEST_F(WholeLadder, BecomesFigures) {
  const auto result = run();
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->n_rounds, 2);
  EXPECT_FALSE(result->interrupted || result->out_of_time);
  EXPECT_GT(n_said_, 40);
  const auto price = rented("USD", per_hour(Money{3.6}));
  const Json json = ladder_json(*result, {.price = *price, .basis = "test"}, "commit");

  EXPECT_EQ(json["schema"], "farthing-ladder/1");
  EXPECT_NEAR(json["machine"]["usd_per_hour"].get<double>(), 3.6, 1e-12);
  EXPECT_EQ(json["workload"]["id"], "toast");
  EXPECT_EQ(json["rungs"].size() + json["missing"].size(), all_rungs().size());
  for (const Json& rung : json["rungs"]) {
    const std::string id = rung["id"];
    ASSERT_EQ(rung["measured"], true) << id;
    const Json& m = rung["cumulative"];
    for (const char* name : {"prefill", "decode", "output", "total"})
      EXPECT_GT(rung["tokens_per_second"][name].get<double>(), 0) << id;
    EXPECT_GT(m["ttft_seconds"]["p50"]["value"].get<double>(), 0) << id;
    EXPECT_GE(m["ttft_seconds"]["p99"]["value"].get<double>(),
              m["ttft_seconds"]["p50"]["value"].get<double>());
    EXPECT_GT(m["joules"]["per_output_token"]["value"].get<double>(), 0);
    EXPECT_GT(m["memory_bytes"].get<double>(), 0);
    EXPECT_THAT(m["bound"]["by"].get<std::string>(),
                testing::AnyOf("bandwidth", "compute", "latency"));
    ASSERT_TRUE(rung["quality"].is_object()) << id;
    EXPECT_GE(rung["quality"]["kld_mean"]["value"].get<double>(), 0);
    // 3.6 an hour are 1,000 for a million seconds: the price of a round is 1,000 / its rate.
    const double price_of = rung["price_per_million_tokens"]["reserved"];
    EXPECT_GT(price_of, 0);
    const Json& rate = m["tokens_per_second"]["output"];
    if (id != "naive") continue;
    EXPECT_NEAR(price_of * rate["value"].get<double>() / 1000, 1, 0.5);
  }
  EXPECT_EQ(json["rungs"][0]["cumulative"]["kv_bytes_per_token"], 0);
  EXPECT_GT(json["rungs"][1]["cumulative"]["kv_bytes_per_token"], 0);
  EXPECT_EQ(json["claims"].back()["id"], "T2");
  // No rung that changes no numbers changed an answer.
  for (const Json& rung : json["rungs"]) {
    if (rung["changes_numbers"] == true || !rung.contains("answers") || rung["answers"].is_null())
      continue;
    EXPECT_EQ(rung["answers"]["same"], rung["answers"]["compared"]) << rung["id"];
  }

  const std::string html = ladder_html(json), table = ladder_table(json);
  EXPECT_THAT(html, Not(HasSubstr("<script")));
  EXPECT_THAT(html, Not(HasSubstr("src=")));
  EXPECT_EQ(std::ranges::count(html, '<'), std::ranges::count(html, '>'));
  for (const Json& rung : json["rungs"]) {
    EXPECT_THAT(html, HasSubstr(rung["title"].get<std::string>()));
    EXPECT_THAT(table, HasSubstr(rung["title"].get<std::string>()));
    EXPECT_THAT(ladder_markdown(json), HasSubstr(rung["title"].get<std::string>()));
  }
  EXPECT_THAT(claims_table(json), HasSubstr("Batching raises throughput 5 times"));
}

TEST_F(WholeLadder, GoesOnWhereItWasInterrupted) {
  // As soon as a sample is kept.
  const auto first = run([&] { return std::filesystem::exists(options_.resume); });
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_TRUE(first->interrupted);
  int n_kept = 0;
  for (const auto& [rungs, measured] : first->measured)
    n_kept += static_cast<int>(measured.samples.size());
  EXPECT_EQ(n_kept, 1);
  // Some of it, at any rate: a report can be made of it.
  const Json part = ladder_json(*first, assumed_bill(2), "commit");
  EXPECT_EQ(part["interrupted"], true);
  EXPECT_FALSE(ladder_html(part).empty());
  EXPECT_FALSE(ladder_table(part).empty());

  const auto second = run();
  ASSERT_TRUE(second) << second.error().message;
  EXPECT_FALSE(second->interrupted);
  EXPECT_EQ(second->n_rounds, 2);
  EXPECT_GT(second->seconds, first->seconds);
  for (const auto& [rungs, measured] : first->measured) {
    if (measured.samples.empty()) continue;
    EXPECT_EQ(second->measured.at(rungs).samples.front().wall, measured.samples.front().wall);
    EXPECT_EQ(second->measured.at(rungs).slice, measured.slice);
  }
  // Nothing is left to do.
  const auto third = run();
  ASSERT_TRUE(third);
  for (const auto& [rungs, measured] : second->measured)
    EXPECT_EQ(third->measured.at(rungs).samples.size(), measured.samples.size());

  // Another ladder's file is refused, and so is a damaged one.
  options_.seed = 2;
  const auto other = run();
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().kind, ErrorKind::kBadInput);
  EXPECT_THAT(other.error().message, HasSubstr("another seed"));
  options_.seed = 1;
  for (const char* text : {"", "[]", "{\"schema\": \"farthing-ladder-state/1\"}", "\xff\xfe"}) {
    std::ofstream(options_.resume, std::ios::binary) << text;
    const auto damaged = run();
    ASSERT_FALSE(damaged) << text;
    EXPECT_EQ(damaged.error().kind, ErrorKind::kBadInput);
  }
}

TEST_F(WholeLadder, KeepsToATinyBudget) {
  options_.budget = 0.5;
  options_.resume.clear();
  const auto result = run();
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_TRUE(result->out_of_time);
  const Json json = ladder_json(*result, assumed_bill(2), "commit");
  EXPECT_THAT(ladder_table(json), HasSubstr("larger --budget"));
}

}  // namespace
}  // namespace farthing
