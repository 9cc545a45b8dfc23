#include "measure/bench.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "measure/bench_report.h"
#include "measure/bench_work.h"
#include "model/forward_for_tests.h"

namespace farthing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::must;

const std::string kToys = FARTHING_SOURCE_DIR "/tests/golden/model/";

std::unique_ptr<Model> toy(const std::string& name) {
  return testing::open_model(kToys + name + ".gguf", WeightMode::kNative);
}

BenchOptions small_options() {
  BenchOptions options{.n_prompt = 8, .n_gen = 5, .reps = 2, .chunk = 7};
  options.runner.n_threads = 2;
  return options;
}

TEST(BenchPlan, ARowForEachPartOfEachDepthAndForEachBatch) {
  BenchOptions options = small_options();
  options.depths = {0, 40};
  options.batches = {1, 3};
  EXPECT_THAT(must(plan_tests(options)),
              ElementsAre(BenchTest{8, 0, 0, 1},
                          BenchTest{0, 5, 0, 1},
                          BenchTest{8, 0, 40, 1},
                          BenchTest{0, 5, 40, 1},
                          BenchTest{0, 5, 8, 3}));
  options.n_prompt = 0;
  EXPECT_THAT(must(plan_tests(options)),
              ElementsAre(BenchTest{0, 5, 0, 1}, BenchTest{0, 5, 40, 1}, BenchTest{0, 5, 0, 3}));
  options.n_prompt = 8;
  options.n_gen = 0;
  EXPECT_THAT(must(plan_tests(options)),
              ElementsAre(BenchTest{8, 0, 0, 1}, BenchTest{8, 0, 40, 1}));
  options.n_gen = 5;
  options.depths = {0};
  options.batches = {3};
  EXPECT_THAT(must(plan_tests(options)), ElementsAre(BenchTest{8, 0, 0, 1}, BenchTest{0, 5, 8, 3}));
  options.n_prompt = options.n_gen = 0;
  EXPECT_EQ(plan_tests(options).error().kind, ErrorKind::kUsage);
}

TEST(BenchPlan, Names) {
  EXPECT_EQ((BenchTest{512, 0, 0, 1}.name()), "pp512");
  EXPECT_EQ((BenchTest{0, 128, 4096, 1}.name()), "tg128 @ d4096");
  EXPECT_EQ((BenchTest{0, 64, 128, 8}.name()), "8 x tg64 @ d128");
}

// Depths are filled in, batches don't mix, and what one test computed serves the next rightly: each
// sequence continues as greedy decoding of its prompt does.
TEST(Bench, GeneratesWhatGreedyDecodingDoes) {
  for (const char* name : {"llama-gqa", "gemma3", "qwen2"}) {
    const auto model = toy(name);
    BenchOptions options = small_options();
    options.depths = {40, 0, 33};
    options.batches = {1, 3, 2};
    Bench bench = must(Bench::create(*model, options));
    testing::Rig rig(*model,
                     {.isa = bench.runner().isa(), .kv_type = KVType::kF16, .n_sequences = 4});
    std::vector<TokenId> other;
    for (const BenchTest& test : bench.tests()) {
      int32_t next_rep = 0;
      const BenchSamples samples =
          bench.run(test, [&](int32_t rep) { EXPECT_EQ(rep, next_rep++); });
      EXPECT_EQ(next_rep, 2);
      EXPECT_EQ(samples.ns.size(), 2u);
      for (int64_t ns : samples.ns) EXPECT_GT(ns, 0);
      ASSERT_EQ(bench.sequences().size(), static_cast<size_t>(test.n_sequences));
      for (const Sequence& s : bench.sequences()) {
        const std::vector<TokenId> prompt(s.tokens.begin(), s.tokens.begin() + s.n_prompt);
        const std::vector<TokenId> added(s.tokens.begin() + s.n_prompt, s.tokens.end());
        EXPECT_EQ(s.n_stored, test.n_depth + test.n_prompt + test.n_gen) << test.name();
        EXPECT_EQ(s.n_prompt, test.n_depth + std::max(test.n_prompt, 1)) << test.name();
        EXPECT_EQ(added, rig.greedy(prompt, test.n_gen)) << name << ' ' << test.name();
        EXPECT_NE(prompt, other) << test.name();
        other = prompt;
      }
    }
  }
}

TEST(Bench, RefusesWhatTheModelHasNoContextFor) {
  const auto model = toy("llama-plain");
  BenchOptions options = small_options();
  options.depths = {0, model->spec.context_length - 8};
  EXPECT_TRUE(Bench::create(*model, options));
  options.depths = {model->spec.context_length - 7};
  const auto refused = Bench::create(*model, options);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::kUsage);
  EXPECT_THAT(refused.error().message, HasSubstr("1025 positions"));
  options = small_options();
  options.batches = {1000};
  options.runner.memory_limit = 1 << 20;
  EXPECT_EQ(Bench::create(*model, options).error().kind, ErrorKind::kNoResource);
}

// llama-plain: d_model 64, 2 layers of 4 heads of 16, d_ff 128, vocabulary 384; every matrix F16.
TEST(BenchWork, OfAToyByHand) {
  constexpr double kLayers = 2 * (4 * 64 * 64 + 3 * 64 * 128);  // weights
  constexpr double kHead = 384 * 64;
  constexpr double kPosition = 2 * 2 * 64;  // values of K and V
  const auto model = toy("llama-plain");
  const ModelWork f16(*model, KVType::kF16);

  const Work single = work_of({.n_gen = 1, .n_depth = 9}, f16, 512);
  EXPECT_EQ(single.bytes, 2 * (kLayers + kHead + 10 * kPosition));
  EXPECT_EQ(single.operations, 2 * (kLayers + kHead));

  const Work batch = work_of({.n_gen = 2, .n_depth = 4, .n_sequences = 3}, f16, 512);
  EXPECT_EQ(batch.bytes, 2 * (2 * (kLayers + kHead) + 3 * (5 + 6) * kPosition));
  EXPECT_EQ(batch.operations, 2 * 3 * 2 * (kLayers + kHead));

  // Chunks of 5 and 3; the head for the last token alone.
  const Work prompt = work_of({.n_prompt = 8, .n_depth = 100}, f16, 5);
  EXPECT_EQ(prompt.bytes, 2 * (2 * kLayers + kHead + (105 + 108) * kPosition));
  EXPECT_EQ(prompt.operations, 2 * (8 * kLayers + kHead));

  model->weight_mode = WeightMode::kInt8;
  const ModelWork int8(*model, KVType::kF32);
  EXPECT_EQ(work_of({.n_gen = 1}, int8, 512).bytes, (kLayers + kHead) * 34 / 32 + 4 * kPosition);
}

TEST(BenchWork, TiedHeadsCountOnceAndWindowsLimitKV) {
  // 7 layers of 1 KV head of 32, 6 of them see 20 positions; the embedding is the head.
  const auto model = toy("gemma3");
  const ModelWork work(*model, KVType::kF16);
  const double at_0 = work_of({.n_gen = 1}, work, 512).bytes;
  const double at_99 = work_of({.n_gen = 1, .n_depth = 99}, work, 512).bytes;
  constexpr double kPosition = 2 * 32 * 2;  // bytes of a layer
  EXPECT_EQ(at_99 - at_0, kPosition * (100 + 6 * 20 - 7));
  double matrices = 0;
  for (const TensorView& t : model->file.tensors) {
    if (t.n_dims == 2) matrices += static_cast<double>(t.bytes.size());
  }
  EXPECT_EQ(at_0, matrices + 7 * kPosition);
  // A chunk of 10 after 90: its first token sees 20 positions back, its last is position 99.
  const Work chunk = work_of({.n_prompt = 10, .n_depth = 90}, work, 10);
  EXPECT_EQ(chunk.bytes, matrices + kPosition * (100 + 6 * 29));
}

BenchMachine made_up_machine() {
  BenchMachine machine{.isa = best_isa()};
  machine.before.read_bytes = machine.after.read_bytes = 1 << 20;
  machine.before.one = {1, 10, 500, 100};
  machine.before.all = {2, 20, 900, 200};
  machine.after.one = {1, 11, 400, 90};
  machine.after.all = {2, 16, 1000, 250};
  return machine;
}

BenchResult made_up_result() {
  BenchResult result;
  result.model = {.filename = "a.gguf",
                  .type = "llama 1M F16",
                  .size = 2000,
                  .n_params = 1000,
                  .n_threads = 2,
                  .chunk = 512,
                  .kv_type = KVType::kBF16};
  // 3 sequences of 4 tokens in 1, 2 and 4 ms.
  result.rows.push_back(
      {.samples = {.test = {.n_gen = 4, .n_depth = 7, .n_sequences = 3},
                   .started = 86400,
                   .ns = {1'000'000, 2'000'000, 4'000'000}},
       .work = {.bytes = 14e6, .operations = 700e6},
       .roofs = {{2, 20, 900, 200}, {2, 40, 1000, 250}, {2, 20, 1000, 250}, {2, 60, 1100, 300}}});
  return result;
}

TEST(BenchReport, JsonHasLlamaBenchNamesAndTheRoofs) {
  const Json json = bench_json(made_up_machine(), {made_up_result(), made_up_result()}, "abc");
  EXPECT_EQ(json["schema"], 1);
  const Json& machine = json["machine"];
  EXPECT_EQ(machine["threads"], 2);
  EXPECT_EQ(machine["isa"], isa_name(best_isa()));
  EXPECT_EQ(machine["read_gb_per_s"], 20.0);
  EXPECT_EQ(machine["int8_gops"], 1000.0);
  EXPECT_EQ(machine["f32_gflops"], 250.0);
  EXPECT_EQ(machine["one_thread"]["read_gb_per_s"], 11.0);
  EXPECT_EQ(machine["before"]["all_threads"]["int8_gops"], 900.0);
  EXPECT_EQ(machine["after"]["all_threads"]["read_gb_per_s"], 16.0);

  ASSERT_EQ(json["results"].size(), 2u);
  const Json& row = json["results"][0];
  EXPECT_EQ(row["n_prompt"], 0);
  EXPECT_EQ(row["n_gen"], 4);
  EXPECT_EQ(row["n_depth"], 7);
  EXPECT_EQ(row["n_batch_seqs"], 3);
  EXPECT_EQ(row["n_threads"], 2);
  EXPECT_EQ(row["model_filename"], "a.gguf");
  EXPECT_EQ(row["model_type"], "llama 1M F16");
  EXPECT_EQ(row["model_size"], 2000);
  EXPECT_EQ(row["model_n_params"], 1000);
  EXPECT_EQ(row["type_k"], "bf16");
  EXPECT_EQ(row["build_commit"], "abc");
  EXPECT_EQ(row["test_time"], "1970-01-02T00:00:00Z");
  EXPECT_EQ(row["samples_ns"].dump(), "[1000000,2000000,4000000]");
  EXPECT_EQ(row["samples_ts"].dump(), "[12000.0,6000.0,3000.0]");
  EXPECT_EQ(row["avg_ns"], 2333333);
  EXPECT_EQ(row["stddev_ns"], 1527525);
  EXPECT_DOUBLE_EQ(row["avg_ts"].get<double>(), 7000);
  EXPECT_NEAR(row["stddev_ts"].get<double>(), 4582.5757, 1e-3);
  // 14 MB and 700 Mop in 7/3 ms; the fractions are the second repetition's.
  EXPECT_NEAR(row["read_gb_per_s"].get<double>(), 6, 1e-9);
  EXPECT_NEAR(row["read_fraction"].get<double>(), 7.0 / 30, 1e-9);
  EXPECT_NEAR(row["gops"].get<double>(), 300, 1e-9);
  EXPECT_NEAR(row["int8_fraction"].get<double>(), 0.35, 1e-9);
  EXPECT_NEAR(row["f32_fraction"].get<double>(), 1.4, 1e-9);
  EXPECT_EQ(row["roofs"]["read_gb_per_s"].dump(), "[20.0,40.0,20.0,60.0]");
  EXPECT_NEAR(row["bytes_per_token"].get<double>(), 14e6 / 12, 1e-3);
  EXPECT_NEAR(row["ops_per_token"].get<double>(), 700e6 / 12, 1e-3);
}

TEST(BenchReport, TableShowsTheSameFigures) {
  const std::string table = bench_table(made_up_machine(), {made_up_result()});
  EXPECT_THAT(table, HasSubstr("2 threads at most: read 20.0 GB/s, int8 1000 Gop/s"));
  EXPECT_THAT(table, HasSubstr("3 x tg4 @ d7"));
  EXPECT_THAT(table, HasSubstr("7000.00 +- 4582.58"));
  EXPECT_THAT(table, HasSubstr("0.58"));  // 7/3 ms in 4 steps
  EXPECT_THAT(table, HasSubstr("6.0 (23 %)"));
  EXPECT_THAT(table, HasSubstr("300 (35 %)"));
}

TEST(BenchReport, OneSampleHasNoDeviation) {
  const Spread one = tokens_per_second({.test = {.n_prompt = 10}, .ns = {1'000'000'000}});
  EXPECT_EQ(one.mean, 10);
  EXPECT_EQ(one.deviation, 0);
}

}  // namespace
}  // namespace farthing
