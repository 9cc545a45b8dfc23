#include "measure/bench.h"

#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "sample/sampler.h"

namespace farthing {
namespace {

// Positions a sequence of this test ends up with. A generation also writes the token after the last
// computed one, which needs no KV.
int32_t positions(const BenchTest& test) {
  return test.n_depth + test.n_prompt + test.n_gen;
}

// Any text will do, the same one each time: the cost of a step doesn't depend on what it says.
TokenId some_token(uint32_t sequence, int32_t position, int32_t vocab_size) {
  return static_cast<TokenId>(uniform(0, sequence, static_cast<uint32_t>(position)) * vocab_size);
}

}  // namespace

std::string BenchTest::name() const {
  std::string name = n_sequences > 1 ? fmt::format("{} x ", n_sequences) : "";
  name += n_prompt > 0 ? fmt::format("pp{}", n_prompt) : fmt::format("tg{}", n_gen);
  if (n_depth > 0) name += fmt::format(" @ d{}", n_depth);
  return name;
}

Result<std::vector<BenchTest>> plan_tests(const BenchOptions& options) {
  const int32_t n_prompt = options.n_prompt;
  const int32_t n_gen = options.n_gen;
  std::vector<BenchTest> tests;
  const bool single = std::ranges::count(options.batches, 1) > 0;
  for (int32_t depth : options.depths) {
    if (n_prompt > 0) tests.push_back({.n_prompt = n_prompt, .n_depth = depth});
    if (n_gen > 0 && single) tests.push_back({.n_gen = n_gen, .n_depth = depth});
  }
  for (int32_t batch : options.batches) {
    if (n_gen > 0 && batch > 1)
      tests.push_back({.n_gen = n_gen, .n_depth = n_prompt, .n_sequences = batch});
  }
  if (tests.empty()) {
    return usage_error(
        "nothing to measure with --prompt {} and --gen {}: give one of them", n_prompt, n_gen);
  }
  return tests;
}

Result<Bench> Bench::create(const Model& model, const BenchOptions& options) {
  Bench bench;
  FARTHING_TRY(bench.tests_, plan_tests(options));
  bench.vocab_size_ = model.spec.vocab_size;
  bench.reps_ = options.reps;

  RunnerOptions runner = options.runner;
  int32_t longest = 0;
  int32_t longest_prompt = 1;  // computed in one go, before or in a test
  int32_t most_sequences = 1;
  int64_t n_blocks = 0;
  for (const BenchTest& test : bench.tests_) {
    longest = std::max(longest, positions(test));
    longest_prompt = std::max({longest_prompt, test.n_prompt, test.n_depth});
    most_sequences = std::max(most_sequences, test.n_sequences);
    n_blocks = std::max(n_blocks, int64_t{test.n_sequences} * blocks_for(positions(test)));
    if (positions(test) > model.spec.context_length) {
      return usage_error("{} needs {} positions, but this model was trained for {}",
                         test.name(),
                         positions(test),
                         model.spec.context_length);
    }
  }
  if (n_blocks > INT32_MAX) return no_resource("{} blocks of KV are too many", n_blocks);
  bench.chunk_ = std::min(options.chunk, longest_prompt);
  runner.n_blocks = static_cast<int32_t>(n_blocks);
  runner.decoder.context = longest;
  runner.decoder.max_tokens = std::max(bench.chunk_, most_sequences);
  runner.decoder.max_logits = most_sequences;
  FARTHING_TRY(bench.runner_, Runner::create(model, runner));
  return bench;
}

BenchSamples Bench::run(const BenchTest& test, const std::function<void(int32_t rep)>& progress) {
  BenchSamples samples{.test = test, .started = std::time(nullptr)};
  samples.ns.reserve(static_cast<size_t>(reps_));
  set_up(test);
  BenchTest warm_up = test;
  warm_up.n_prompt = std::min(test.n_prompt, chunk_);
  warm_up.n_gen = std::min(test.n_gen, 1);
  once(warm_up);
  for (int32_t rep = 0; rep < reps_; ++rep) {
    progress(rep);
    rewind(test);
    const TimePoint start = Clock::now();
    once(test);
    samples.ns.push_back(
        std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count());
  }
  return samples;
}

// Sequences with room for all they will hold, computed up to the test's depth. Sequence i lies in
// blocks [i * n, i * n + n): what earlier tests computed of the same text in the same place stays.
void Bench::set_up(const BenchTest& test) {
  const int32_t n_blocks = blocks_for(positions(test));
  if (n_blocks != blocks_per_sequence_) computed_.resize(std::min<size_t>(computed_.size(), 1));
  blocks_per_sequence_ = n_blocks;
  const auto n_sequences = static_cast<size_t>(test.n_sequences);
  computed_.resize(std::max(computed_.size(), n_sequences), 0);
  sequences_.assign(n_sequences, Sequence{});
  batch_.slices.reserve(n_sequences);
  uint32_t block = 0;
  for (uint32_t i = 0; i < n_sequences; ++i) {
    Sequence& s = sequences_[i];
    s.id = SequenceId{i};
    s.n_prompt = test.n_depth + std::max(test.n_prompt, 1);
    s.tokens.reserve(static_cast<size_t>(positions(test)) + 1);
    for (int32_t p = 0; p < s.n_prompt; ++p) s.tokens.push_back(some_token(i, p, vocab_size_));
    for (int32_t b = 0; b < n_blocks; ++b) s.blocks.push_back(BlockId{block++});
    s.n_stored = std::min(computed_[i], test.n_depth);
    compute_prompt(s, test.n_depth, false);
    computed_[i] = test.n_depth;
  }
}

// Back to where set_up left it: what lies behind n_stored is overwritten by the next run.
void Bench::rewind(const BenchTest& test) {
  for (Sequence& s : sequences_) {
    s.tokens.resize(static_cast<size_t>(s.n_prompt));
    s.n_stored = test.n_depth;
  }
}

void Bench::once(const BenchTest& test) {
  if (test.n_prompt > 0) {
    compute_prompt(sequences_.front(), test.n_depth + test.n_prompt, true);
  } else {
    generate(test.n_gen);
  }
}

// Positions [n_stored, end), chunk by chunk.
void Bench::compute_prompt(Sequence& sequence, int32_t end, bool wants_logits) {
  batch_.slices.resize(1);
  Slice& slice = batch_.slices.front();
  while (sequence.n_stored < end) {
    slice.sequence = &sequence;
    slice.first = sequence.n_stored;
    slice.count = std::min(chunk_, end - sequence.n_stored);
    slice.n_logits = wants_logits && slice.first + slice.count == end ? 1 : 0;
    runner_->forward(batch_);
    sequence.n_stored += slice.count;
  }
}

// One token of every sequence per step.
void Bench::generate(int32_t n_steps) {
  const SamplingParams greedy{.temperature = 0};
  batch_.slices.resize(sequences_.size());
  for (int32_t step = 0; step < n_steps; ++step) {
    for (size_t i = 0; i < sequences_.size(); ++i) {
      batch_.slices[i] = Slice{.sequence = &sequences_[i],
                               .first = sequences_[i].n_stored,
                               .count = 1,
                               .n_logits = 1,
                               .n_best = best_needed(greedy)};
    }
    const Logits logits = runner_->forward(batch_);
    for (size_t i = 0; i < sequences_.size(); ++i) {
      const auto row = static_cast<int64_t>(i);
      Sequence& s = sequences_[i];
      const Sampled chosen =
          sample_token({.logits = logits.all_of(row), .best = logits.best_of(row)}, greedy);
      s.tokens.push_back(chosen.token);
      ++s.n_stored;
    }
  }
}

}  // namespace farthing
