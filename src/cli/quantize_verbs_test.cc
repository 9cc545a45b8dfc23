// `quantize` and `imatrix` as users run them: the real program, on the toy models.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/json.h"
#include "cli/program_for_tests.h"

namespace farthing {
namespace {

using ::testing::HasSubstr;

using testing::contents;
using testing::kToys;
using testing::Outcome;

class QuantizeVerbs : public testing::ProgramTest {
 protected:
  QuantizeVerbs() {
    std::string text;
    for (int i = 0; i < 400; ++i) text += "word" + std::to_string(i * 7919 % 1000) + " ";
    file("text", text);
  }

  // Of the one from the other, weights as floats: nats a token.
  double divergence(const std::string& model, const std::string& reference) const {
    const Outcome outcome = run({"quality",
                                 "--model",
                                 model,
                                 "--reference",
                                 reference,
                                 "--text",
                                 path("text"),
                                 "--ctx",
                                 "32",
                                 "--weights",
                                 "f32",
                                 "--reference-weights",
                                 "f32",
                                 "--json"});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome.exit_code == 0 ? Json::parse(outcome.out)["kld_mean"].get<double>() : 1e9;
  }
};

TEST_F(QuantizeVerbs, WritesAModelThatRuns) {
  for (const char* name : {"llama-plain.gguf", "gemma3.gguf", "qwen3.gguf"}) {
    // Nats that random weights, which forgive nothing, may lose.
    const std::pair<const char*, double> types[] = {
        {"f16", 1e-6}, {"q8_0", 0.02}, {"Q5_K_M", 0.3}, {"q4_k_m", 0.6}, {"q4_0", 0.6}};
    for (const auto& [type, most] : types) {
      const Outcome outcome =
          run({"quantize", kToys + name, path("m.gguf"), "--type", type, "--json"});
      ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
      const Json json = Json::parse(outcome.out);
      int64_t bytes = 0;
      for (const Json& tensor : json["tensors"]) {
        bytes += tensor["bytes"].get<int64_t>();
        EXPECT_LT(tensor["error"].get<double>(), 0.1);
        const bool vector = tensor["shape"].size() == 1;
        const bool stays = vector || std::string(type) == "f16";  // which they are
        EXPECT_EQ(tensor["from"] == tensor["to"], stays) << tensor.dump();
      }
      EXPECT_EQ(json["bytes"], bytes);
      EXPECT_EQ(run({"check", path("m.gguf")}).exit_code, 0);
      EXPECT_LT(divergence(path("m.gguf"), kToys + name), most) << name << ' ' << type;
    }
  }
}

TEST_F(QuantizeVerbs, TableAndDryRun) {
  const std::string in = kToys + "llama-plain.gguf";
  const Outcome dry = run({"quantize", in, "--type", "q8_0", "--dry-run"});
  ASSERT_EQ(dry.exit_code, 0) << dry.err;
  EXPECT_THAT(dry.out, HasSubstr("blk.0.attn_q.weight"));
  EXPECT_THAT(dry.out, HasSubstr("bits per weight"));
  const Outcome real = run({"quantize", in, path("m.gguf"), "--type", "q8_0"});
  ASSERT_EQ(real.exit_code, 0) << real.err;
  // The same rows, errors apart.
  EXPECT_EQ(dry.out.substr(dry.out.rfind("tensors, ")),
            real.out.substr(real.out.rfind("tensors, ")));
  const std::string bytes = contents(path("m.gguf"));
  for (const char* n : {"1", "3"}) {
    ASSERT_EQ(run({"quantize", in, path("n.gguf"), "--type", "q8_0", "--threads", n}).exit_code, 0);
    EXPECT_EQ(contents(path("n.gguf")), bytes);
  }
}

TEST_F(QuantizeVerbs, ImatrixAndBack) {
  const std::string in = kToys + "llama-plain.gguf";
  const Outcome made = run({"imatrix",
                            "--model",
                            in,
                            "--text",
                            path("text"),
                            "--ctx",
                            "32",
                            "--chunks",
                            "5",
                            "--out",
                            path("i.gguf")});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  EXPECT_THAT(made.err, HasSubstr("5 chunks"));
  const Outcome with = run(
      {"quantize", in, path("m.gguf"), "--type", "q4_0", "--imatrix", path("i.gguf"), "--json"});
  ASSERT_EQ(with.exit_code, 0) << with.err;
  const Json weighted = Json::parse(with.out);
  const Outcome without = run({"quantize", in, path("n.gguf"), "--type", "q4_0", "--json"});
  const Json plain = Json::parse(without.out);
  int64_t n_weighted = 0;
  for (size_t i = 0; i < plain["tensors"].size(); ++i) {
    const Json &a = plain["tensors"][i], &b = weighted["tensors"][i];
    if (!b["importance"].get<bool>() || a["to"] != b["to"]) continue;
    ++n_weighted;
    EXPECT_GE(b["error"].get<double>(), a["error"].get<double>()) << a["name"];
  }
  EXPECT_GT(n_weighted, 5);
  // Not the model's: every tensor has another width.
  EXPECT_EQ(
      run({"quantize", kToys + "llama-gqa.gguf", path("m.gguf"), "--type", "q4_0", "--imatrix", in})
          .exit_code,
      3);
}

TEST_F(QuantizeVerbs, WritesAFolderThatRuns) {
  const std::string in = FARTHING_SOURCE_DIR "/tests/golden/folder/llama-gqa";
  const std::vector<std::vector<std::string>> ways = {
      {"--type", "int8"},
      {"--type", "fp8"},
      {"--type", "int4-g32", "--method", "nearest"},
      {"--type", "int4-g32"},
      {"--type", "int4-g128", "--text", path("text"), "--ctx", "32"}};
  for (std::vector<std::string> args : ways) {
    const std::string type = args[1];
    std::filesystem::remove_all(path("m"));
    args.insert(args.begin(), {"quantize", in, path("m"), "--json"});
    const Outcome outcome = run(args);
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    const Json json = Json::parse(outcome.out);
    EXPECT_EQ(json["type"], type);
    EXPECT_LT(json["bits_per_weight"].get<double>(), type.starts_with("int4") ? 5.6 : 8.6);
    EXPECT_EQ(run({"check", path("m")}).exit_code, 0);
    EXPECT_LT(divergence(path("m"), in), type.starts_with("int4") ? 0.3 : 0.05) << type;
  }
  EXPECT_EQ(run({"quantize", in, path("m"), "--type", "int8"}).exit_code, 2);
  EXPECT_EQ(
      run({"quantize", in, path("n"), "--type", "int4-g32", "--method", "feedback"}).exit_code, 2);
  EXPECT_EQ(run({"quantize", in, path("n"), "--type", "int8", "--text", path("text")}).exit_code,
            2);
  EXPECT_EQ(run({"quantize", kToys + "llama-gqa.gguf", path("n"), "--type", "int8"}).exit_code, 2);
  EXPECT_EQ(run({"quantize", path("m"), path("n"), "--type", "int8"}).exit_code, 3);
}

TEST_F(QuantizeVerbs, TargetKldChoosesTypes) {
  const std::string in = kToys + "llama-plain.gguf";
  int64_t before = 0;
  for (const char* target : {"0.01", "0.0001"}) {
    const Outcome outcome = run({"quantize",
                                 in,
                                 path("m.gguf"),
                                 "--target-kld",
                                 target,
                                 "--text",
                                 path("text"),
                                 "--ctx",
                                 "32",
                                 "--chunks",
                                 "4",
                                 "--json"});
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    const Json json = Json::parse(outcome.out);
    EXPECT_LE(json["kld"]["measured"].get<double>(), std::stod(target));
    EXPECT_GT(json["bytes"].get<int64_t>(), before) << "less loss takes more bytes";
    before = json["bytes"];
    // Measured again, by another way.
    const Outcome quality = run({"quality",
                                 "--model",
                                 path("m.gguf"),
                                 "--reference",
                                 in,
                                 "--text",
                                 path("text"),
                                 "--ctx",
                                 "32",
                                 "--chunks",
                                 "4",
                                 "--weights",
                                 "f32",
                                 "--reference-weights",
                                 "f32",
                                 "--json"});
    ASSERT_EQ(quality.exit_code, 0) << quality.err;
    EXPECT_NEAR(Json::parse(quality.out)["kld_mean"].get<double>(),
                json["kld"]["measured"].get<double>(),
                1e-7);
  }
  const Outcome beyond = run({"quantize",
                              kToys + "llama-tied.gguf",  // F32: F16 loses something
                              path("m.gguf"),
                              "--target-kld",
                              "1e-30",
                              "--text",
                              path("text"),
                              "--ctx",
                              "32",
                              "--chunks",
                              "1"});
  EXPECT_EQ(beyond.exit_code, 5) << beyond.err;
}

TEST_F(QuantizeVerbs, Refuses) {
  const std::string in = kToys + "llama-plain.gguf";
  const std::string out = path("m.gguf");
  const auto code = [&](std::vector<std::string> args) {
    args.insert(args.begin(), "quantize");
    return run(args).exit_code;
  };
  EXPECT_EQ(code({in, out}), 2);
  EXPECT_EQ(code({in, out, "--type", "q3_z"}), 2);
  EXPECT_EQ(code({in, "--type", "q4_0"}), 2);
  EXPECT_EQ(code({in, in, "--type", "q4_0"}), 2);
  EXPECT_EQ(code({in, out, "--type", "q4_0", "--threads", "0"}), 2);
  EXPECT_EQ(code({in, out, "--type", "q4_0", "--target-kld", "1"}), 2);
  EXPECT_EQ(code({in, out, "--target-kld", "1"}), 2);
  EXPECT_EQ(code({in, out, "--target-kld", "nan", "--text", path("text")}), 2);
  EXPECT_EQ(code({path("none.gguf"), out, "--type", "q4_0"}), 3);
  EXPECT_EQ(code({path("text"), out, "--type", "q4_0"}), 3);
  EXPECT_EQ(code({in, out, "--type", "q4_0", "--imatrix", path("none")}), 3);
  EXPECT_EQ(code({in, out, "--type", "q4_0", "--imatrix", path("text")}), 3);
  EXPECT_EQ(code({in, path("none/m.gguf"), "--type", "q4_0"}), 4);
  EXPECT_EQ(code({in, folder_, "--type", "q4_0"}), 4);
  EXPECT_FALSE(std::filesystem::exists(out));
  EXPECT_EQ(run({"imatrix", "--model", in, "--out", path("i")}).exit_code, 2);
  EXPECT_EQ(run({"imatrix", "--model", in, "--text", path("text")}).exit_code, 2);
  EXPECT_EQ(
      run({"imatrix", "--model", in, "--text", path("text"), "--out", path("text")}).exit_code, 2);
  EXPECT_EQ(run({"imatrix",
                 "--model",
                 in,
                 "--text",
                 path("text"),
                 "--ctx",
                 "32",
                 "--out",
                 path("none/i")})
                .exit_code,
            4);
}

// What goes wrong says so in one line, and what stood at OUT stands there still.
TEST_F(QuantizeVerbs, AFailureLosesNothing) {
  const std::string in = kToys + "llama-plain.gguf";
  const std::string whole = contents(in);
  std::ofstream(path("m.gguf"), std::ios::binary) << "older";
  const auto fails = [&](const std::vector<std::string>& args, int exit_code, const char* says) {
    const Outcome outcome = run(args);
    EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(says));
    EXPECT_EQ(outcome.out, "");
    EXPECT_EQ(contents(path("m.gguf")), "older");
    EXPECT_FALSE(std::filesystem::exists(path("m.gguf.part")));
  };
  for (const size_t size : {size_t{0}, size_t{3}, size_t{24}, size_t{5000}, whole.size() - 1}) {
    std::ofstream(path("cut.gguf"), std::ios::binary) << whole.substr(0, size);
    fails({"quantize", path("cut.gguf"), path("m.gguf"), "--type", "q4_0"}, 3, "cut.gguf");
  }
  // Not a number, in the matrix that ends the file's longest run of f16.
  std::string damaged = whole;
  for (size_t at = damaged.size() / 2; at < damaged.size() / 2 + 64; at += 2)
    damaged[at] = '\x01', damaged[at + 1] = '\x7e';
  std::ofstream(path("nan.gguf"), std::ios::binary) << damaged;
  fails({"quantize", path("nan.gguf"), path("m.gguf"), "--type", "q4_k_m"}, 3, "not a number");
  // Somebody else writes the same file.
  std::ofstream(path("n.gguf.part"), std::ios::binary) << "another's";
  fails({"quantize", in, path("n.gguf"), "--type", "q4_0"}, 4, "n.gguf.part: is there already");
  EXPECT_EQ(contents(path("n.gguf.part")), "another's");
  // Files of the folder that is read.
  const std::string folder = path("folder/");
  std::filesystem::copy(FARTHING_SOURCE_DIR "/tests/golden/folder/llama-gqa", folder);
  const std::string config = contents(folder + "config.json");
  for (const char* name : {"config.json", "tokenizer.json", "model-00003-of-00003.safetensors"}) {
    fails({"quantize", folder, folder + name, "--type", "q8_0"}, 2, "is what is read");
    fails({"imatrix",
           "--model",
           folder,
           "--text",
           path("text"),
           "--ctx",
           "32",
           "--out",
           folder + name},
          2,
          "is what is read");
  }
  EXPECT_EQ(contents(folder + "config.json"), config);
}

TEST_F(QuantizeVerbs, AFullDiskIsSaidBeforeTheWork) {
  // The limit of a file's size stands for the disk's: the calls fail alike.
  const std::string in = kToys + "llama-plain.gguf";
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{1 << 14, before.rlim_max};
  const std::vector<std::vector<std::string>> ways = {
      {"quantize", in, path("m"), "--type", "f16"},
      {"quantize",
       FARTHING_SOURCE_DIR "/tests/golden/folder/llama-gqa",
       path("m"),
       "--type",
       "int8"}};
  for (const std::vector<std::string>& args : ways) {
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
    const Outcome outcome = run(args);
    setrlimit(RLIMIT_FSIZE, &before);
    EXPECT_EQ(outcome.exit_code, 4) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("bytes)"));
    EXPECT_FALSE(std::filesystem::exists(path("m")) || std::filesystem::exists(path("m.part")));
  }
}

// A pipe is the text: whoever opens it is past where Ctrl-C would still end the program at once.
TEST_F(QuantizeVerbs, CtrlCWhileMeasuringLeavesNothing) {
  const std::string text = contents(path("text"));
  ASSERT_EQ(mkfifo(path("pipe").c_str(), 0600), 0);
  const std::string in = kToys + "llama-gqa.gguf";
  const std::vector<std::vector<std::string>> ways = {
      {"imatrix", "--model", in, "--out", path("m")},
      {"quantize", in, path("m"), "--target-kld", "0.01"},
      {"quality", "--model", in, "--reference", in, "--save-reference", path("m")},
      {"quantize",
       FARTHING_SOURCE_DIR "/tests/golden/folder/llama-gqa",
       path("m"),
       "--type",
       "int4-g32"}};
  for (std::vector<std::string> args : ways) {
    args.insert(args.end(), {"--text", path("pipe"), "--ctx", "32"});
    const pid_t child = start(args);
    int pipe = -1;
    while ((pipe = open(path("pipe").c_str(), O_WRONLY | O_NONBLOCK)) < 0) {  // nobody reads yet
      if (waitpid(child, nullptr, WNOHANG) != 0) FAIL() << contents(path("err"));
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    kill(child, SIGINT);
    EXPECT_EQ(write(pipe, text.data(), text.size()), static_cast<ssize_t>(text.size()));
    close(pipe);
    const Outcome outcome = wait_for(child);
    EXPECT_EQ(outcome.exit_code, 130) << args[0] << ": " << outcome.err;
    EXPECT_FALSE(std::filesystem::exists(path("m")) || std::filesystem::exists(path("m.part")));
  }
}

// On the real model: a toy would be done before the signal comes.
TEST_F(QuantizeVerbs, CtrlCLeavesNothing) {
  const pid_t child =
      start({"quantize", "smollm2", path("m.gguf"), "--type", "q5_k_m", "--threads", "1"});
  while (!std::filesystem::exists(path("m.gguf.part"))) {
    if (waitpid(child, nullptr, WNOHANG) != 0) FAIL() << contents(path("err"));
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  kill(child, SIGINT);
  const Outcome outcome = wait_for(child);
  EXPECT_EQ(outcome.exit_code, 130) << outcome.err;
  EXPECT_FALSE(std::filesystem::exists(path("m.gguf")));
  EXPECT_FALSE(std::filesystem::exists(path("m.gguf.part")));
}

}  // namespace
}  // namespace farthing
