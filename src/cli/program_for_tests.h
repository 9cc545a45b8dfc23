// Tests of verbs as users run them: the real program, in a folder of the test's own and with
// nobody's configuration.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace farthing::testing {

inline const std::string kToys = FARTHING_SOURCE_DIR "/tests/golden/model/";

struct Outcome {
  int exit_code = -1;  // 1000 and more: ended by that signal
  std::string out;
  std::string err;
};

inline std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// In a child: becomes the program.
[[noreturn]] inline void exec_program(const std::vector<std::string>& args) {
  std::string program = FARTHING_BINARY_DIR "/farthing";
  std::vector<char*> argv = {program.data()};
  for (const std::string& arg : args) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);
  execv(program.c_str(), argv.data());
  _exit(99);
}

inline int exit_code_of(pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

class ProgramTest : public ::testing::Test {
 protected:
  ProgramTest() : folder_(::testing::TempDir() + "farthing_verbs_XXXXXX") {
    EXPECT_NE(mkdtemp(folder_.data()), nullptr);
    setenv("XDG_CONFIG_HOME", folder_.c_str(), 1);
  }
  ~ProgramTest() override {
    // Leaves nothing behind, nor another test's folder of configuration.
    unsetenv("XDG_CONFIG_HOME");
    std::filesystem::remove_all(folder_);
  }

  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  std::string file(const std::string& name, const std::string& text) const {
    std::ofstream(path(name), std::ios::binary) << text;
    return path(name);
  }

  // `out`: where standard output goes; by default to a file that wait_for() reads.
  pid_t start(const std::vector<std::string>& args,
              const std::string& input = "",
              const std::string& out = "") const {
    const std::string in_path = file("in", input);
    const pid_t child = fork();
    if (child != 0) return child;
    constexpr int kNew = O_WRONLY | O_CREAT | O_TRUNC;
    dup2(open(in_path.c_str(), O_RDONLY), STDIN_FILENO);
    dup2(open((out.empty() ? path("out") : out).c_str(), kNew, 0600), STDOUT_FILENO);
    dup2(open(path("err").c_str(), kNew, 0600), STDERR_FILENO);
    exec_program(args);
  }
  Outcome wait_for(pid_t child) const {
    const int exit_code = exit_code_of(child);
    return {exit_code, contents(path("out")), contents(path("err"))};
  }
  Outcome run(const std::vector<std::string>& args,
              const std::string& input = "",
              const std::string& out = "") const {
    return wait_for(start(args, input, out));
  }

  std::string folder_;
};

}  // namespace farthing::testing
