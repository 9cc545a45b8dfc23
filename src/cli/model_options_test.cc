#include "cli/model_options.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "cli/settings.h"
#include "cli/verb.h"

namespace farthing {
namespace {

// A program with two verbs, run in process; the environment variables it sets are gone afterwards.
class CommandLine : public testing::Test {
 protected:
  CommandLine() : folder_(testing::TempDir() + "farthing_cli_XXXXXX") {
    EXPECT_NE(mkdtemp(folder_.data()), nullptr);
    set("XDG_CONFIG_HOME", folder_);
    add_model_options(*add_verb(app_, "run", "", exit_code_, [] { return Status(); }), options_);
    CLI::App* serve = add_verb(app_, "serve", "", exit_code_, [] { return Status(); });
    serve->add_option("--port", port_)->check(CLI::Range(0, 65535));
    serve->add_option("--names", names_);
    serve->add_flag("--strict-model", strict_);
  }
  ~CommandLine() override {
    for (const std::string& name : variables_) unsetenv(name.c_str());
    std::filesystem::remove_all(folder_);
  }

  void set(const std::string& name, const std::string& value) {
    setenv(name.c_str(), value.c_str(), 1);
    variables_.push_back(name);
  }
  std::string file(const std::string& name, const std::string& text) {
    const std::filesystem::path path = std::filesystem::path(folder_) / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
    return path;
  }
  // The exit code; what stands on stderr is in errors_.
  int run(std::vector<std::string> args) {
    exit_code_ = -1;
    testing::internal::CaptureStderr();
    std::reverse(args.begin(), args.end());
    try {
      app_.parse(args);
    } catch (const CLI::ParseError& error) {
      testing::internal::GetCapturedStderr();
      errors_ = error.what();
      return 2;
    }
    errors_ = testing::internal::GetCapturedStderr();
    return exit_code_;
  }

  CLI::App app_;
  ModelOptions options_;
  int exit_code_ = -1;
  int port_ = 8080;
  std::vector<std::string> names_;
  bool strict_ = false;
  std::string errors_;
  std::string folder_;
  std::vector<std::string> variables_;
};

TEST_F(CommandLine, Defaults) {
  ASSERT_EQ(run({"run"}), 0);
  EXPECT_EQ(options_.model, "smollm2");
  EXPECT_EQ(options_.engine.context, 0);
  EXPECT_EQ(options_.engine.n_threads, 0);
  EXPECT_FALSE(options_.engine.isa);
  EXPECT_EQ(options_.engine.kv_type, KVType::kF16);
  EXPECT_TRUE(options_.engine.kv_cache);
  EXPECT_EQ(options_.load.weights, WeightMode::kNative);
}

TEST_F(CommandLine, EveryFlag) {
  ASSERT_EQ(
      run({"run",   "--model",     "m.gguf",    "--ctx",     "4096",    "--threads", "3",
           "--isa", "ref",         "--kv-type", "bf16",      "--chunk", "64",        "--kv-cache",
           "off",   "--attention", "naive",     "--weights", "f32",     "--memory",  "2G"}),
      0);
  EXPECT_EQ(options_.model, "m.gguf");
  EXPECT_EQ(options_.engine.context, 4096);
  EXPECT_EQ(options_.engine.n_threads, 3);
  EXPECT_EQ(options_.engine.isa, Isa::kRef);
  EXPECT_EQ(options_.engine.kv_type, KVType::kBF16);
  EXPECT_EQ(options_.engine.chunk, 64);
  EXPECT_FALSE(options_.engine.kv_cache);
  EXPECT_EQ(options_.engine.attention, AttentionMode::kNaive);
  EXPECT_EQ(options_.load.weights, WeightMode::kF32);
  EXPECT_EQ(options_.engine.memory_limit, int64_t{2} << 30);
  ASSERT_EQ(run({"run", "--kv-type", "int8,int4"}), 0);
  EXPECT_EQ(options_.engine.kv_type, KVTypes(KVType::kInt8, KVType::kInt4));
  ASSERT_EQ(run({"run", "--chunk", "off"}), 0);
  EXPECT_EQ(options_.engine.chunk, std::numeric_limits<int32_t>::max());
}

TEST_F(CommandLine, Drafters) {
  EXPECT_EQ(options_.engine.speculate, Speculation::kOff);
  using enum Speculation;
  for (const auto& [name, value] : {std::pair{"lookup", kLookup},
                                    {"suffix", kSuffix},
                                    {"draft", kDraft},
                                    {"self", kSelf},
                                    {"off", kOff}}) {
    ASSERT_EQ(run({"run", "--speculate", name}), 0) << errors_;
    EXPECT_EQ(options_.engine.speculate, value);
  }
  ASSERT_EQ(run({"run", "--draft-model", "d.gguf", "--draft-layers", "7", "--draft", "3"}), 0);
  EXPECT_EQ(options_.draft_model, "d.gguf");
  EXPECT_EQ(options_.engine.draft_layers, 7);
  EXPECT_EQ(options_.engine.draft_tokens, 3);
  EXPECT_EQ(run({"run", "--speculate", "ngram"}), 2);
}

TEST_F(CommandLine, BadValuesAreUsageErrorsThatNameTheFlag) {
  const std::vector<std::vector<std::string>> bad = {
      {"--ctx", "0"},
      {"--ctx", "x"},
      {"--threads", "-1"},
      {"--isa", "sse9"},
      {"--kv-type", "int3"},
      {"--kv-type", "int8,"},
      {"--kv-type", ",int8"},
      {"--kv-type", "int8,int4,f16"},
      {"--kv-type", "q4"},
      {"--chunk", "0"},
      {"--chunk", "8x"},
      {"--kv-cache", "yes"},
      {"--attention", ""},
      {"--weights", "f16"},
      {"--memory", "lots"},
      {"--memory", "-1G"},
      {"--memory", "1e99"},
      {"--ctx", "99999999999"},
  };
  for (const auto& flags : bad) {
    EXPECT_EQ(run({"run", flags[0], flags[1]}), 2) << flags[0] << ' ' << flags[1];
    EXPECT_NE(errors_.find(flags[0]), std::string::npos) << errors_;
  }
}

TEST_F(CommandLine, CommandLineThenEnvironmentThenConfig) {
  file("farthing/config.toml",
       "ctx = 100\nthreads = 2\nkv_type = 'f32'\n[run]\nctx = 200\n[serve]\nport = 99\n");
  ASSERT_EQ(run({"run"}), 0) << errors_;
  EXPECT_EQ(options_.engine.context, 200);
  EXPECT_EQ(options_.engine.n_threads, 2);
  EXPECT_EQ(options_.engine.kv_type, KVType::kF32);
  set("FARTHING_CTX", "300");
  set("FARTHING_KV_TYPE", "bf16");
  ASSERT_EQ(run({"run"}), 0) << errors_;
  EXPECT_EQ(options_.engine.context, 300);
  EXPECT_EQ(options_.engine.kv_type, KVType::kBF16);
  ASSERT_EQ(run({"run", "--ctx", "400"}), 0) << errors_;
  EXPECT_EQ(options_.engine.context, 400);
  ASSERT_EQ(run({"serve"}), 0) << errors_;
  EXPECT_EQ(port_, 99);
}

TEST_F(CommandLine, ConfigFileOnTheCommandLineAndKinds) {
  const std::string path = file("a.toml", "port = 1234\nnames = ['a', 'b']\nstrict-model = true\n");
  ASSERT_EQ(run({"serve", "--config", path}), 0) << errors_;
  EXPECT_EQ(port_, 1234);
  EXPECT_EQ(names_, (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(strict_);
  set("FARTHING_CONFIG", file("b.toml", "port = 77"));
  ASSERT_EQ(run({"serve"}), 0) << errors_;
  EXPECT_EQ(port_, 77);
}

TEST_F(CommandLine, BadConfigs) {
  struct Case {
    std::string text;
    int exit_code;
    std::string names;
  };
  const std::vector<Case> cases = {
      {"port = 70000", 2, "port"},
      {"port = 'x'", 2, "port"},
      {"prot = 1", 2, "prot"},
      {"[serve]\nctx = 1", 2, "ctx"},
      {"[sevre]\nport = 1", 2, "sevre"},
      {"port = {a = 1}", 2, "port"},
      {"port = [[1]]", 2, "port"},
      {"port = = 1", 3, "c.toml:1"},
      {"port = 1\n\xff", 3, "c.toml"},
  };
  for (const Case& c : cases) {
    const std::string path = file("c.toml", c.text);
    EXPECT_EQ(run({"serve", "--config", path}), c.exit_code) << c.text;
    EXPECT_NE(errors_.find(c.names), std::string::npos) << errors_;
    EXPECT_EQ(std::count(errors_.begin(), errors_.end(), '\n'), 1) << errors_;
  }
  EXPECT_EQ(run({"serve", "--config", folder_ + "/none.toml"}), 3);
  EXPECT_EQ(run({"serve", "--config", folder_}), 3);
  set("FARTHING_PORT", "port");
  EXPECT_EQ(run({"serve"}), 2);
  EXPECT_NE(errors_.find("FARTHING_PORT"), std::string::npos) << errors_;
}

TEST_F(CommandLine, ModelAliases) {
  set("FARTHING_MODELS_DIR", folder_);
  const Result<std::string> absent = resolve_model("smollm2");
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().kind, ErrorKind::kBadInput);
  EXPECT_NE(absent.error().message.find("tools/fetch_model.sh smollm2"), std::string::npos);
  const std::string path = file("SmolLM2-135M-Instruct.Q4_1.gguf", "x");
  EXPECT_EQ(*resolve_model("smollm2"), path);
  EXPECT_EQ(*resolve_model(path), path);
  EXPECT_FALSE(resolve_model(""));
  EXPECT_FALSE(resolve_model(folder_ + "/nothing.gguf"));
}

TEST(ParseBytesTest, UnitsOf1024) {
  EXPECT_EQ(*parse_bytes("65536"), 65536);
  EXPECT_EQ(*parse_bytes("512M"), 512 << 20);
  EXPECT_EQ(*parse_bytes("1.5GiB"), 3 << 29);
  EXPECT_EQ(*parse_bytes("2kB"), 2048);
  for (const char* bad :
       {"", "M", "0", "0.5", "1X", "1GG", "1iB", "nan", "inf", "-5", "9e30T", "1 G"}) {
    EXPECT_FALSE(parse_bytes(bad)) << bad;
  }
}

}  // namespace
}  // namespace farthing
