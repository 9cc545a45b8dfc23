// The sweep: every malformed file is read in a child process that may take 2 s of CPU for each;
// then a sample of them, and the memory bombs, go through the real program.
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <new>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/utf8.h"
#include "tests/fuzz/malformed.h"

namespace farthing::fuzz {
namespace {

constexpr uint64_t kSeed = 1;
constexpr rlim_t kCpuSeconds = 2;
constexpr int kMaxFailures = 20;

// What a child tells its parent, in memory that both see and that outlives its death.
struct Progress {
  std::atomic<uint64_t> next{0};  // the file in work, or the first not begun
  std::atomic<uint64_t> refused{0};
  std::atomic<uint64_t> accepted{0};
  char fault[2000] = "";  // of the file `next`
};

Progress* shared_progress() {
  void* memory =
      ::mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? nullptr : new (memory) Progress;
}

// SIGXCPU kills this process when it has used kCpuSeconds more than now (the limit counts whole
// seconds).
void renew_cpu_limit() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto seconds = static_cast<rlim_t>(used.ru_utime.tv_sec + used.ru_stime.tv_sec);
  rlimit limit{seconds + kCpuSeconds + 1, RLIM_INFINITY};
  ::setrlimit(RLIMIT_CPU, &limit);
}

// In the child: reads files from progress.next on; stops at the first that is judged wrong.
void read_all(Progress& progress) {
  const uint64_t first = progress.next;
  for_each_malformed(kSeed, [&](uint64_t i, const auto& make) {
    if (i < first || progress.fault[0] != '\0') return;
    progress.next = i;
    renew_cpu_limit();
    const MalformedFile file = make();
    // An allocation of exactly the file's size, so that AddressSanitizer sees the first byte read
    // beyond it.
    const std::vector<char> exact(file.bytes.begin(), file.bytes.end());
    bool refused = false;
    const std::string fault = judge(std::as_bytes(std::span(exact)), &refused);
    if (!fault.empty()) fmt::format_to_n(progress.fault, sizeof progress.fault - 1, "{}", fault);
    ++(refused ? progress.refused : progress.accepted);
  });
  if (progress.fault[0] == '\0') progress.next = ~uint64_t{0};
}

std::string recipe_of(uint64_t index) {
  std::string recipe;
  for_each_malformed(kSeed, [&](uint64_t i, const auto& make) {
    if (i == index) recipe = printable(make().recipe, 400);
  });
  return recipe;
}

std::string how_it_ended(int status) {
  if (WIFSIGNALED(status)) return fmt::format("killed by {}", ::strsignal(WTERMSIG(status)));
  return fmt::format("exit code {}", WEXITSTATUS(status));
}

TEST(MalformedGguf, EveryFileIsRefusedOrReadSafely) {
  Progress* progress = shared_progress();
  ASSERT_NE(progress, nullptr);
  const uint64_t total = count_malformed(kSeed);
  EXPECT_GE(total, 5000U);
  int failures = 0;
  while (progress->next < total && failures < kMaxFailures) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      read_all(*progress);
      ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    if (progress->next == ~uint64_t{0}) break;
    const uint64_t culprit = progress->next;
    const std::string what = progress->fault[0] != '\0' ? progress->fault : how_it_ended(status);
    ADD_FAILURE() << "file " << culprit << " (" << recipe_of(culprit) << "): " << what;
    ++failures;
    progress->fault[0] = '\0';
    progress->next = culprit + 1;
  }
  fmt::print("{} files: {} refused, {} accepted\n",
             total,
             progress->refused.load(),
             progress->accepted.load());
  EXPECT_GT(progress->refused, total / 2);
  EXPECT_GT(progress->accepted, 0U);
  ::munmap(progress, sizeof(Progress));
}

class Program : public ::testing::Test {
 protected:
  Program()
      : folder_(std::filesystem::temp_directory_path() /
                fmt::format("farthing-fuzz-{}", ::getpid())) {
    std::filesystem::create_directories(folder_);
  }
  ~Program() override { std::filesystem::remove_all(folder_); }

  std::string path(const char* name) const { return (folder_ / name).string(); }

  // Writes the file in a child: what it takes to build a bomb must not count as this process's
  // memory, which a spawned program inherits as its peak until it has started.
  void write_in_child(const std::function<MalformedFile()>& make) const {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      const MalformedFile file = make();
      std::ofstream(path("f.gguf"), std::ios::binary) << file.bytes;
      std::ofstream(path("recipe")) << printable(file.recipe, 400);
      ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0);
  }

  std::string read(const char* name) const {
    std::ifstream in(path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  struct Outcome {
    int code = -1;
    std::string output;  // both streams
  };

  // Runs the program on the file just written: it must end by itself, with exit code 0 or 3 (then
  // in one line), with little CPU and no more memory than file + 64 MiB.
  Outcome run(std::vector<const char*> args) const {
    const pid_t child = ::fork();
    if (child == 0) exec(std::move(args));
    int status = 0;
    rusage used{};
    EXPECT_EQ(::wait4(child, &status, 0, &used), child);
    const std::string recipe = read("recipe");
    const Outcome outcome{WIFEXITED(status) ? WEXITSTATUS(status) : -1, read("out")};
    EXPECT_TRUE(outcome.code == 0 || outcome.code == 3)
        << recipe << ": " << how_it_ended(status) << "\n"
        << outcome.output;
    if (outcome.code == 3) {
      EXPECT_EQ(std::count(outcome.output.begin(), outcome.output.end(), '\n'), 1)
          << outcome.output;
      EXPECT_TRUE(outcome.output.starts_with("error: ")) << recipe << ": " << outcome.output;
      EXPECT_TRUE(outcome.output.ends_with('\n')) << recipe;
    }
    const uint64_t file_bytes = std::filesystem::file_size(path("f.gguf"));
    const auto peak = static_cast<uint64_t>(used.ru_maxrss) << 10;
    EXPECT_LE(peak, file_bytes + (uint64_t{64} << 20))
        << recipe << ": " << (peak >> 20) << " MiB resident for a file of " << (file_bytes >> 20)
        << " MiB";
    return outcome;
  }

  void check() const {
    const Outcome outcome = run({"check"});
    if (outcome.code != 0) return;
    EXPECT_TRUE(outcome.output.starts_with("ok: ")) << outcome.output;
    EXPECT_EQ(std::count(outcome.output.begin(), outcome.output.end(), '\n'), 1) << outcome.output;
  }

  void inspect() const {
    const Outcome outcome = run({"inspect", "--json"});
    if (outcome.code != 0) return;
    EXPECT_TRUE(Json::accept(outcome.output)) << read("recipe");
  }

 private:
  // In the child. Never returns.
  [[noreturn]] void exec(std::vector<const char*> args) const {
    const std::string file = path("f.gguf");
    args.insert(args.begin(), "farthing");
    args.push_back(file.c_str());
    args.push_back(nullptr);
    const rlimit limit{kCpuSeconds, RLIM_INFINITY};
    ::setrlimit(RLIMIT_CPU, &limit);
    const int out = ::open(path("out").c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600);
    ::dup2(out, 1);
    ::dup2(out, 2);
    ::execv(FARTHING_BINARY_DIR "/farthing", const_cast<char* const*>(args.data()));
    ::_exit(99);
  }

  std::filesystem::path folder_;
};

TEST_F(Program, SampleOfTheSweep) {
  constexpr uint64_t kSample = 300;
  const uint64_t step = std::max<uint64_t>(1, count_malformed(kSeed) / kSample);
  for_each_malformed(kSeed, [&](uint64_t i, const auto& make) {
    if (i % step != 0 || HasFatalFailure()) return;
    write_in_child(make);
    check();
    inspect();
  });
}

TEST_F(Program, MemoryBombs) {
  for_each_bomb([&](uint64_t, const auto& make) {
    if (HasFatalFailure()) return;
    write_in_child(make);
    check();
    inspect();
  });
}

}  // namespace
}  // namespace farthing::fuzz
