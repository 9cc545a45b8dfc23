// A program whose allocations are counted: a step takes no memory, whatever it generates.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "measure/bench.h"
#include "model/forward_for_tests.h"

namespace {
std::atomic<int64_t> allocations = 0;
}  // namespace

// Not inlined, or g++ takes malloc and delete for a mismatched pair.
[[gnu::noinline]] void* operator new(size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size > 0 ? size : 1)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}

namespace farthing {
namespace {

// Between the clock's readings of a bench test, and in the forward pass and sampler below it.
TEST(Allocations, NoneInAStep) {
  for (const char* name : {"llama-types", "gemma2", "qwen2"}) {
    const auto model = testing::open_model(
        std::string(FARTHING_SOURCE_DIR "/tests/golden/model/") + name + ".gguf",
        WeightMode::kNative);
    BenchOptions options{
        .n_prompt = 20, .n_gen = 70, .depths = {0, 50}, .batches = {1, 4}, .reps = 3, .chunk = 7};
    options.runner.n_threads = 2;
    Bench bench = testing::must(Bench::create(*model, options));
    for (const BenchTest& test : bench.tests()) {
      int64_t before = 0;
      bench.run(test, [&](int32_t rep) {
        if (rep > 0) {
          EXPECT_EQ(allocations - before, 0) << name << ' ' << test.name();
        }
        before = allocations;
      });
    }
  }
}

TEST(Allocations, AreCounted) {
  const int64_t before = allocations;
  ::operator delete(::operator new(1000));
  EXPECT_EQ(allocations - before, 1);
}

}  // namespace
}  // namespace farthing
