// What a step asks of the kernel: nothing but to wait for other threads.
#include <gtest/gtest.h>

#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <iterator>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "measure/bench.h"
#include "model/forward_for_tests.h"

namespace farthing {
namespace {

// From here on every system call of any thread of this process is its end by SIGSYS, but for those
// of threads that wait for each other, of a clock that the kernel doesn't map, and exit.
void allow_waiting_only() {
  constexpr int kAllowed[] = {SYS_futex, SYS_sched_yield, SYS_clock_gettime, SYS_exit_group};
  constexpr uint8_t kCount = std::size(kAllowed);
  sock_filter program[kCount + 3] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
  for (uint8_t i = 0; i < kCount; ++i) {
    const auto to_allow = static_cast<uint8_t>(kCount - i);
    program[1 + i] =
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(kAllowed[i]), to_allow, 0);
  }
  program[kCount + 1] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
  program[kCount + 2] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  const sock_fprog filter = {.len = kCount + 3, .filter = program};
  const bool done =
      prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
      syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter) == 0;
  if (!done) std::abort();
}

// The repetitions after the first, of tests with prompts and answers, alone and in a batch.
void run_steps(const std::string& name) {
  const auto model = testing::open_model(
      FARTHING_SOURCE_DIR "/tests/golden/model/" + name + ".gguf", WeightMode::kNative);
  BenchOptions options{
      .n_prompt = 20, .n_gen = 70, .depths = {0, 50}, .batches = {1, 4}, .reps = 2, .chunk = 7};
  options.runner.n_threads = 2;
  Bench bench = testing::must(Bench::create(*model, options));
  for (const BenchTest& test : bench.tests()) bench.run(test, [](int32_t) {});
  allow_waiting_only();
  for (const BenchTest& test : bench.tests()) bench.run(test, [](int32_t) {});
  _exit(0);
}

TEST(SystemCallsDeathTest, NoneInAStepButWaiting) {
  for (const char* name : {"llama-types", "gemma2", "qwen2"})
    EXPECT_EXIT(run_steps(name), ::testing::ExitedWithCode(0), "") << name;
}

TEST(SystemCallsDeathTest, OthersWouldBeSeen) {
  const auto ask = [] {
    allow_waiting_only();
    getppid();
    _exit(0);
  };
  EXPECT_EXIT(ask(), ::testing::KilledBySignal(SIGSYS), "");
}

}  // namespace
}  // namespace farthing
