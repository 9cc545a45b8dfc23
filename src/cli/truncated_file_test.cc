// A model file that is cut short while the real program reads it: one line and exit code 3, never
// a death without a word.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "load/gguf_for_tests.h"

namespace farthing {
namespace {

namespace fs = std::filesystem;

std::string contents(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A vocabulary that takes a while to read.
std::string large_vocabulary() {
  std::vector<std::string> tokens;
  for (int i = 0; i < 400000; ++i) tokens.push_back(fmt::format("{:032}", i));
  testing::GgufDoc doc;
  doc.keys = {testing::meta("general.architecture", "llama"),
              testing::meta("tokenizer.ggml.model", "gpt2"),
              testing::meta("tokenizer.ggml.tokens", std::move(tokens))};
  return testing::encode(doc).bytes;
}

struct Outcome {
  bool cut = false;  // before the program ended
  int status = 0;    // as waitpid gives it
  std::string err;
};

// Runs `farthing inspect FILE` and cuts the file as soon as the program has it mapped.
Outcome inspect_and_cut(const fs::path& file, const fs::path& err) {
  const pid_t child = fork();
  if (child == 0) {
    freopen("/dev/null", "w", stdout);
    freopen(err.c_str(), "w", stderr);
    execl(FARTHING_BINARY_DIR "/farthing", "farthing", "inspect", file.c_str(), nullptr);
    _exit(99);
  }
  Outcome outcome;
  const std::string maps = fmt::format("/proc/{}/maps", child);
  while (waitpid(child, &outcome.status, WNOHANG) == 0) {
    if (outcome.cut || contents(maps).find(file.filename().string()) == std::string::npos) {
      std::this_thread::sleep_for(std::chrono::microseconds(100));
      continue;
    }
    kill(child, SIGSTOP);  // or it might be done before the file is cut
    fs::resize_file(file, 4096);
    outcome.cut = true;
    kill(child, SIGCONT);
  }
  outcome.err = contents(err);
  return outcome;
}

TEST(TruncatedFile, EndsWithOneLineThatNamesIt) {
  std::string folder = ::testing::TempDir() + "farthing_cut_XXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  const fs::path file = fs::path(folder) / "large.gguf";
  const std::string whole = large_vocabulary();
  // It may have read everything before the cut: then it doesn't matter, and we try again.
  bool seen = false;
  for (int attempt = 0; attempt < 50 && !seen; ++attempt) {
    std::ofstream(file, std::ios::binary) << whole;
    const Outcome outcome = inspect_and_cut(file, fs::path(folder) / "err");
    ASSERT_TRUE(WIFEXITED(outcome.status)) << "signal " << WTERMSIG(outcome.status);
    if (WEXITSTATUS(outcome.status) == 0) continue;
    seen = true;
    EXPECT_TRUE(outcome.cut);
    EXPECT_EQ(WEXITSTATUS(outcome.status), 3) << outcome.err;
    EXPECT_THAT(outcome.err, ::testing::StartsWith("error: " + file.string() + ": "));
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  }
  EXPECT_TRUE(seen) << "the program was always faster than the cut";
  fs::remove_all(folder);
}

}  // namespace
}  // namespace farthing
