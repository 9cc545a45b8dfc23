// The verb `bench` as users run it: the real program, on toy models.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <string>

#include "base/json.h"

namespace farthing {
namespace {

using testing::HasSubstr;

const std::string kToys = FARTHING_SOURCE_DIR "/tests/golden/model/";

struct Outcome {
  int exit_code = -1;
  std::string output;
};

// Through the shell, without any configuration file; `more` may redirect.
Outcome bench(const std::string& more) {
  const std::string command =
      "XDG_CONFIG_HOME=/nonexistent " FARTHING_BINARY_DIR "/farthing bench " + more;
  std::FILE* pipe = popen(command.c_str(), "r");
  if (!pipe) return {};
  Outcome outcome;
  std::array<char, 4096> block;
  while (const size_t n = std::fread(block.data(), 1, block.size(), pipe)) {
    outcome.output.append(block.data(), n);
  }
  const int status = pclose(pipe);
  outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return outcome;
}

TEST(BenchVerb, JsonOfTwoModels) {
  const std::string models = kToys + "llama-plain.gguf," + kToys + "gemma3.gguf";
  const Outcome outcome =
      bench("--model " + models +
            " --prompt 8 --gen 4 --depth 0,16 --batch 1,3 --reps 2 --threads 2 --isa ref "
            "--kv-type bf16 --json 2>/dev/null");
  ASSERT_EQ(outcome.exit_code, 0);
  const Json json = Json::parse(outcome.output);
  EXPECT_EQ(json["schema"], 1);
  EXPECT_EQ(json["machine"]["isa"], "ref");
  EXPECT_EQ(json["machine"]["threads"], 2);
  for (const char* rate : {"read_gb_per_s", "int8_gops", "f32_gflops"}) {
    EXPECT_GT(json["machine"][rate].get<double>(), 0) << rate;
  }
  std::string tests;
  for (const Json& row : json["results"]) {
    tests += fmt::format("{} {} {} {};",
                         row["n_prompt"].get<int>(),
                         row["n_gen"].get<int>(),
                         row["n_depth"].get<int>(),
                         row["n_batch_seqs"].get<int>());
    EXPECT_EQ(row["samples_ts"].size(), 2u);
    EXPECT_GT(row["avg_ts"].get<double>(), 0);
    EXPECT_GT(row["read_fraction"].get<double>(), 0);
    EXPECT_GT(row["int8_fraction"].get<double>(), 0);
    EXPECT_EQ(row["n_threads"], 2);
    EXPECT_EQ(row["type_v"], "bf16");
  }
  const std::string of_one_model = "8 0 0 1;0 4 0 1;8 0 16 1;0 4 16 1;0 4 8 3;";
  EXPECT_EQ(tests, of_one_model + of_one_model);
  EXPECT_THAT(json["results"][0]["model_type"].get<std::string>(), HasSubstr("llama"));
  EXPECT_THAT(json["results"][5]["model_type"].get<std::string>(), HasSubstr("gemma3"));
}

TEST(BenchVerb, TableAndSettings) {
  const Outcome outcome = bench("--model " + kToys +
                                "llama-plain.gguf --prompt 0 --gen 3 --depth 5 --depth 7 "
                                "--reps 1 --threads 1 2>&1");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("tg3 @ d5"));
  EXPECT_THAT(outcome.output, HasSubstr("tg3 @ d7"));
  EXPECT_THAT(outcome.output, HasSubstr("1 thread"));
  EXPECT_THAT(outcome.output, testing::Not(HasSubstr("pp")));
}

TEST(BenchVerb, Refuses) {
  const std::string toy = "--model " + kToys + "llama-plain.gguf ";
  const struct {
    std::string args;
    int exit_code;
    const char* message;
  } cases[] = {
      {toy + "--prompt 0 --gen 0", 2, "--prompt 0"},
      {toy + "--prompt -1", 2, "--prompt"},
      {toy + "--depth 0,x", 2, "--depth"},
      {toy + "--batch 1,0", 2, "--batch"},
      {toy + "--reps 0", 2, "--reps"},
      {toy + "--isa sse9", 2, "sse9"},
      {toy + "--kv-type q4", 2, "q4"},
      {toy + "--promt 3", 2, "--prompt"},
      {toy + "--depth 1020", 2, "1024"},
      {"--model " + kToys + "none.gguf", 3, "none.gguf"},
      {"--model " + kToys + "llama-plain.gguf," + kToys + "cases.json", 3, "cases.json"},
      {toy + "--batch 4000 --memory 1M", 4, "MiB"},
      {toy + "--gen 2 --prompt 0 --reps 1 --threads 1 >/dev/full", 1, "No space left"},
  };
  for (const auto& c : cases) {
    const Outcome outcome = bench("2>&1 " + c.args);
    EXPECT_EQ(outcome.exit_code, c.exit_code) << c.args << '\n' << outcome.output;
    EXPECT_THAT(outcome.output, HasSubstr(c.message)) << c.args;
  }
}

}  // namespace
}  // namespace farthing
