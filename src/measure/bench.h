// Bench: how fast one model runs, test by test, as llama-bench and llama-batched-bench count it.
// Owns: a runner and the sequences of the test at hand. Does not know: what the machine can do at
// most (measure/machine.h), how results are shown (measure/bench_report.h).
// A prompt test computes tokens in chunks, logits for the last one only. A generation test computes
// one token per sequence and step and picks the next ones greedily: forward pass and greedy
// sampling are timed. What a test stands on (its depth) is filled in before, untimed; one warm-up
// run isn't counted. Invariant: between the clock's readings nothing is allocated or printed here.
#pragma once

#include <cstdint>
#include <ctime>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/runner.h"
#include "model/model.h"

namespace farthing {

struct BenchOptions {
  int32_t n_prompt = 512;              // 0: no prompt tests, and batches start from nothing
  int32_t n_gen = 128;                 // 0: no generation tests
  std::vector<int32_t> depths = {0};   // positions stored before prompt tests and single streams
  std::vector<int32_t> batches = {1};  // above 1: so many sequences behind n_prompt tokens each
  int32_t reps = 5;
  int32_t chunk = 512;   // most prompt tokens of one forward pass
  RunnerOptions runner;  // n_threads, isa, memory_limit, decoder.kv_type, decoder.attention
};

// One of n_prompt and n_gen is 0.
struct BenchTest {
  int32_t n_prompt = 0;
  int32_t n_gen = 0;
  int32_t n_depth = 0;  // positions that each sequence has stored before
  int32_t n_sequences = 1;

  int64_t n_tokens() const { return int64_t{n_sequences} * (n_prompt + n_gen); }
  std::string name() const;  // "pp512", "tg128 @ d4096", "8 x tg128 @ d512"
  friend bool operator==(const BenchTest&, const BenchTest&) = default;
};

struct BenchSamples {
  BenchTest test;
  std::time_t started = 0;
  std::vector<int64_t> ns;  // of each repetition
};

// For each depth a prompt test and a generation test of one stream; then one of each larger batch.
// kUsage if nothing is left to measure.
Result<std::vector<BenchTest>> plan_tests(const BenchOptions& options);

class Bench {
 public:
  // Takes all memory that the planned tests need. The model outlives the bench. kUsage if a test is
  // longer than the model's context; else as Runner::create.
  static Result<Bench> create(const Model& model, const BenchOptions& options);

  const std::vector<BenchTest>& tests() const { return tests_; }
  // `progress` is called before each repetition, from 0.
  BenchSamples run(const BenchTest& test, const std::function<void(int32_t rep)>& progress);

  const Runner& runner() const { return *runner_; }
  int32_t chunk() const { return chunk_; }
  // Tokens that the last generation test wrote, sequence by sequence.
  const std::vector<Sequence>& sequences() const { return sequences_; }

 private:
  Bench() = default;
  void set_up(const BenchTest& test);
  void rewind(const BenchTest& test);
  void compute_prompt(Sequence& sequence, int32_t end, bool wants_logits);
  void generate(int32_t n_steps);
  void once(const BenchTest& test);

  std::vector<BenchTest> tests_;
  int32_t vocab_size_ = 0;
  int32_t chunk_ = 0;
  int32_t reps_ = 0;
  std::unique_ptr<Runner> runner_;
  std::vector<Sequence> sequences_;
  int32_t blocks_per_sequence_ = 0;
  std::vector<int32_t> computed_;  // of each sequence: positions whose K and V are its prompt's
  Batch batch_;
};

}  // namespace farthing
