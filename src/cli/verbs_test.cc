// The verbs as users run them: the real program, on the toy models of tests/golden/model.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "base/json.h"
#include "cli/program_for_tests.h"

namespace farthing {
namespace {

using ::testing::HasSubstr;

using testing::contents;
using testing::exec_program;
using testing::exit_code_of;
using testing::kToys;
using testing::Outcome;

const std::string kToy = kToys + "llama-plain.gguf";

class Verbs : public testing::ProgramTest {};

TEST_F(Verbs, TokenizeAndBack) {
  const std::string text = "Hello, w\xC3\xB6rld!\n\n  <|im_end|>\t\xF0\x9F\x98\x80";
  const Outcome ids = run({"tokenize", "--model", kToy}, text);
  ASSERT_EQ(ids.exit_code, 0) << ids.err;
  EXPECT_EQ(ids.out.back(), '\n');
  EXPECT_EQ(run({"detokenize", "--model", kToy}, ids.out).out, text);

  const Outcome json = run({"tokenize", "--model", kToy, "--json"}, text);
  ASSERT_EQ(json.exit_code, 0) << json.err;
  const Json list = Json::parse(json.out)["ids"];
  std::string words;
  for (const Json& id : list) words += (words.empty() ? "" : " ") + id.dump();
  EXPECT_EQ(words + "\n", ids.out);
  EXPECT_EQ(run({"detokenize", "--model", kToy}, json.out).out, text);

  EXPECT_EQ(run({"tokenize", "--model", kToy}, "").out, "\n");
  EXPECT_EQ(run({"tokenize", "--model", kToy, "--json"}, "").out, "{\"ids\":[]}\n");
  EXPECT_EQ(run({"detokenize", "--model", kToy}, "").out, "");
}

TEST_F(Verbs, TokenizeWithATokenizerJson) {
  const std::string model =
      FARTHING_SOURCE_DIR "/tests/golden/tokenizer/json/llama3.tokenizer.json";
  const std::string text = "Two words, \xC3\xA9t\xC3\xA9\n";
  const Outcome ids = run({"tokenize", "--model", model}, text);
  ASSERT_EQ(ids.exit_code, 0) << ids.err;
  EXPECT_EQ(run({"detokenize", "--model", model}, ids.out).out, text);
  EXPECT_EQ(run({"tokenize", "--model", file("bad.json", "{\"model\":1}")}, text).exit_code, 3);
}

// A Hugging Face folder is a model like any other; its GGUF has the same weights and vocabulary.
TEST_F(Verbs, AFolderForAModel) {
  const std::string folder = FARTHING_SOURCE_DIR "/tests/golden/folder/llama-plain";
  const std::string text = "Shall I compare thee to a summer's day?";
  const Outcome ids = run({"tokenize", "--model", folder, "--add-special"}, text);
  ASSERT_EQ(ids.exit_code, 0) << ids.err;
  EXPECT_EQ(ids.out, run({"tokenize", "--model", kToy, "--add-special"}, text).out);
  EXPECT_EQ(run({"detokenize", "--model", folder, "--skip-special"}, ids.out).out, text);
  for (const std::vector<std::string>& verb :
       {std::vector<std::string>{
            "run", "--temperature", "0", "--max-tokens", "20", "--json", "--model"},
        std::vector<std::string>{"apply-template",
                                 "--messages",
                                 file("m", R"([{"role":"user","content":"a"}])"),
                                 "--model"}}) {
    std::vector<std::string> ours = verb, theirs = verb;
    ours.push_back(folder + "/");
    theirs.push_back(kToy);
    if (verb[0] == "run") ours.emplace_back(text), theirs.emplace_back(text);
    const Outcome got = run(ours), wanted = run(theirs);
    ASSERT_EQ(got.exit_code, 0) << got.err;
    if (verb[0] == "run") {
      EXPECT_EQ(Json::parse(got.out)["text"], Json::parse(wanted.out)["text"]);
    } else {
      EXPECT_EQ(got.out, wanted.out);
    }
  }
  const Outcome check = run({"check", folder});
  EXPECT_EQ(check.exit_code, 0);
  EXPECT_THAT(check.out, HasSubstr("Hugging Face folder, llama, 21 tensors, 384 tokens"));
  const Outcome inspect = run({"inspect", "--json", folder});
  ASSERT_EQ(inspect.exit_code, 0) << inspect.err;
  const Json seen = Json::parse(inspect.out);
  EXPECT_EQ(seen["metadata"]["general.name"], "llama-plain");
  EXPECT_TRUE(seen["memory"]["run"].is_object()) << seen["memory"].dump();
  const Outcome bad = run({"check", FARTHING_SOURCE_DIR "/tests/golden/template"});
  EXPECT_EQ(bad.exit_code, 3);
  EXPECT_THAT(bad.err, HasSubstr("config.json is missing"));
}

TEST_F(Verbs, TokenizeBadInput) {
  const Outcome bad = run({"tokenize", "--model", kToy}, "ab\xFFz");
  EXPECT_EQ(bad.exit_code, 3);
  EXPECT_THAT(bad.err, HasSubstr("2"));
  EXPECT_EQ(bad.out, "");
  for (const char* ids : {"1 x",
                          "-1",
                          "1.5",
                          "99999999",
                          "999999999999",
                          "{\"ids\":1}",
                          "{\"ids\":[-1]}",
                          "{\"ids\":[1",
                          "{\"ids\":[\"1\"]}",
                          "{}"}) {
    const Outcome outcome = run({"detokenize", "--model", kToy}, ids);
    EXPECT_EQ(outcome.exit_code, 3) << ids << ' ' << outcome.err;
    EXPECT_EQ(outcome.out, "") << ids;
  }
  EXPECT_EQ(run({"tokenize", "--model", folder_ + "/none.gguf"}, "a").exit_code, 3);
  EXPECT_EQ(run({"tokenize", "--model", kToy}, "a", "/dev/full").exit_code, 1);
}

TEST_F(Verbs, ApplyTemplate) {
  const std::string source =
      file("t.jinja",
           "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
           "{% if add_generation_prompt %}[go]{% endif %}{{ extra }}");
  const std::string messages = file("m.json", R"([{"role":"user","content":"a < b"}])");
  const std::string kwargs = file("k.json", R"({"extra":"!","bos_token":"<s>"})");
  EXPECT_EQ(run({"apply-template", "--template", source, "--messages", messages}).out,
            "[user]a < b[go]");
  EXPECT_EQ(run({"apply-template",
                 "--template",
                 source,
                 "--messages",
                 messages,
                 "--no-generation-prompt"})
                .out,
            "[user]a < b");
  EXPECT_EQ(
      run({"apply-template", "--template", source, "--messages", messages, "--kwargs", kwargs}).out,
      "<s>[user]a < b[go]!");
  const std::string now = file("now.jinja", "{{ strftime_now('%Y-%m-%d') }}");
  EXPECT_EQ(run({"apply-template",
                 "--template",
                 now,
                 "--messages",
                 messages,
                 "--now",
                 "2031-02-03T04:05:06"})
                .out,
            "2031-02-03");

  const std::string refuses = file("r.jinja", "{{ raise_exception('no such role') }}");
  const Outcome raised = run({"apply-template", "--template", refuses, "--messages", messages});
  EXPECT_EQ(raised.exit_code, 3);
  EXPECT_THAT(raised.err, HasSubstr("no such role"));
  EXPECT_EQ(run({"apply-template", "--template", source}).exit_code, 2);
  EXPECT_EQ(run({"apply-template", "--template", source, "--model", kToy, "--messages", messages})
                .exit_code,
            2);
  EXPECT_EQ(run({"apply-template", "--template", source, "--messages", kwargs}).exit_code, 3);
  EXPECT_EQ(
      run({"apply-template", "--template", source, "--messages", file("x.json", "[1,")}).exit_code,
      3);
  const std::string deep = file("d.json", std::string(100000, '[') + std::string(100000, ']'));
  EXPECT_EQ(run({"apply-template", "--template", source, "--messages", deep}).exit_code, 3);
}

TEST_F(Verbs, RunGivesTheSameTextHoweverItIsAsked) {
  const std::vector<std::string> base = {
      "run", "--model", kToy, "--raw", "--temperature", "0", "--max-tokens", "12"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), base.begin(), base.end());
    return more;
  };
  const Outcome plain = run(with({"the cat"}));
  ASSERT_EQ(plain.exit_code, 0) << plain.err;
  EXPECT_THAT(plain.err, HasSubstr("tokens/s"));
  EXPECT_THAT(plain.err, HasSubstr("seed"));
  EXPECT_EQ(run(with({}), "the cat\n").out, plain.out);
  EXPECT_EQ(run(with({"--file", file("p", "the cat")})).out, plain.out);
  EXPECT_EQ(run(with({"--file", "-"}), "the cat").out, plain.out);
  EXPECT_EQ(run(with({"--threads", "1", "--isa", "ref", "--chunk", "1", "the cat"})).exit_code, 0);

  const Outcome json = run(with({"--json", "the cat"}));
  ASSERT_EQ(json.exit_code, 0) << json.err;
  const Json answer = Json::parse(json.out);
  EXPECT_EQ(answer["text"].get<std::string>() + "\n", plain.out);
  EXPECT_EQ(answer["usage"]["completion_tokens"], 12);
  EXPECT_EQ(answer["finish_reason"], "length");
  EXPECT_GT(answer["timings"]["prompt_per_second"].get<double>(), 0);
  EXPECT_GT(answer["limits"]["read_fraction"].get<double>(), 0);
  EXPECT_TRUE(answer["limits"]["limited_by"].is_string());
}

TEST_F(Verbs, RunSamplesBySeed) {
  const auto text = [&](const std::string& seed) {
    return run({"run", "--model", kToy, "--raw", "--max-tokens", "20", "--seed", seed, "the cat"})
        .out;
  };
  EXPECT_EQ(text("1"), text("1"));
  EXPECT_NE(text("1"), text("2"));
}

TEST_F(Verbs, RunStopsAtAStopString) {
  const std::vector<std::string> args = {
      "run", "--model", kToy, "--raw", "--temperature", "0", "--max-tokens", "12"};
  const std::string whole = run({"run",
                                 "--model",
                                 kToy,
                                 "--raw",
                                 "--temperature",
                                 "0",
                                 "--max-tokens",
                                 "12",
                                 "--json",
                                 "the cat"})
                                .out;
  const std::string text = Json::parse(whole)["text"];
  ASSERT_GT(text.size(), 4u);
  // A stop string of two bytes or characters from the middle of the answer.
  size_t begin = text.size() / 2;
  while (begin > 0 && (text[begin] & 0xC0) == 0x80) --begin;
  size_t end = begin + 1;
  while (end < text.size() && (text[end] & 0xC0) == 0x80) ++end;
  const std::string stop = text.substr(begin, end - begin);
  const Outcome cut = run({"run",
                           "--model",
                           kToy,
                           "--raw",
                           "--temperature",
                           "0",
                           "--max-tokens",
                           "12",
                           "--json",
                           "--stop",
                           stop,
                           "the cat"});
  ASSERT_EQ(cut.exit_code, 0) << cut.err;
  EXPECT_EQ(Json::parse(cut.out)["text"].get<std::string>(), text.substr(0, text.find(stop)));
  EXPECT_EQ(Json::parse(cut.out)["finish_reason"], "stop");
}

// Whoever guesses, the text is the same.
TEST_F(Verbs, RunSpeculates) {
  const auto with = [&](std::vector<std::string> more) {
    std::vector<std::string> args = {
        "run", "--model", kToy, "--raw", "--temperature", "0", "--max-tokens", "40"};
    args.insert(args.end(), more.begin(), more.end());
    args.push_back("the cat the cat the cat");
    return run(args);
  };
  const Outcome off = with({});
  ASSERT_EQ(off.exit_code, 0) << off.err;
  EXPECT_EQ(with({"--speculate", "lookup"}).out, off.out);
  EXPECT_EQ(with({"--speculate", "suffix"}).out, off.out);
  EXPECT_EQ(with({"--speculate", "self", "--draft", "3"}).out, off.out);
  EXPECT_EQ(with({"--speculate", "draft", "--draft-model", kToy, "--draft", "3"}).out, off.out);
  const Outcome json =
      with({"--speculate", "draft", "--draft-model", kToy, "--draft", "3", "--json"});
  const Json timings = Json::parse(json.out)["timings"];
  EXPECT_GT(timings["draft_n"], 0);
  EXPECT_EQ(timings["draft_n"], timings["draft_n_accepted"]);  // it is the model itself

  const Outcome none = with({"--speculate", "draft"});
  EXPECT_EQ(none.exit_code, 2);
  EXPECT_THAT(none.err, HasSubstr("--draft-model"));
  const std::string gemma = FARTHING_SOURCE_DIR "/tests/golden/model/gemma3.gguf";
  const Outcome other = with({"--speculate", "draft", "--draft-model", gemma});
  EXPECT_EQ(other.exit_code, 3);
  EXPECT_THAT(other.err, HasSubstr("vocabulary"));
  EXPECT_EQ(with({"--speculate", "draft", "--draft-model", folder_ + "/none"}).exit_code, 3);
}

TEST_F(Verbs, RunRefuses) {
  EXPECT_EQ(run({"run", "--model", kToy}, "").exit_code, 2);
  EXPECT_EQ(run({"run", "--model", kToy, ""}).exit_code, 2);
  EXPECT_EQ(run({"run", "--model", kToy, "--temperature", "nan", "a"}).exit_code, 2);
  EXPECT_EQ(run({"run", "--model", kToy, "--top-p", "0", "a"}).exit_code, 2);
  EXPECT_EQ(run({"run", "--model", kToy, "--seed", "-1", "a"}).exit_code, 2);
  EXPECT_EQ(run({"run", "--model", kToy, "--seed", "99999999999999999999999", "a"}).exit_code, 2);
  EXPECT_EQ(run({"run", "--model", kToy, "--stop", "", "a"}).exit_code, 2);
  EXPECT_EQ(run({"run", "--model", kToy, "--max-tokens", "0", "a"}).exit_code, 2);
  EXPECT_EQ(run({"run", "--model", kToy, "a", "b"}).exit_code, 2);
  EXPECT_EQ(run({"run", "--model", kToy, "--raw", "\xFF"}).exit_code, 3);
  EXPECT_EQ(run({"run", "--model", file("x.gguf", "GGUF"), "a"}).exit_code, 3);
  EXPECT_EQ(
      run({"run", "--model", kToy, "--raw", "--max-tokens", "3", "a"}, "", "/dev/full").exit_code,
      1);
  const Outcome too_long = run({"run", "--model", kToy, "--raw"}, std::string(100000, 'x'));
  EXPECT_EQ(too_long.exit_code, 2);
  EXPECT_THAT(too_long.err, HasSubstr("context"));
}

TEST_F(Verbs, PerplexityDoesNotDependOnSteps) {
  std::string text;
  for (int i = 0; i < 200; ++i) text += "word" + std::to_string(i * 7919 % 1000) + " ";
  const std::string path = file("t.txt", text);
  const auto score = [&](std::vector<std::string> more) {
    std::vector<std::string> args = {
        "perplexity", "--model", kToy, "--text", path, "--json", "--ctx", "32"};
    args.insert(args.end(), more.begin(), more.end());
    const Outcome outcome = run(args);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return Json::parse(outcome.out);
  };
  const Json all = score({});
  EXPECT_GT(all["perplexity"].get<double>(), 1);
  EXPECT_LT(all["perplexity"].get<double>(), 100000);
  EXPECT_GT(all["stderr"].get<double>(), 0);
  EXPECT_EQ(all["ctx"], 32);
  EXPECT_EQ(all["n_scored"].get<int>(), all["chunks"].get<int>() * 15);
  EXPECT_EQ(score({"--chunk", "5"}), all);
  EXPECT_EQ(score({"--threads", "1"}), all);
  EXPECT_EQ(score({"--chunks", "2"})["chunks"], 2);

  EXPECT_EQ(run({"perplexity", "--model", kToy}).exit_code, 2);
  EXPECT_EQ(run({"perplexity", "--model", kToy, "--text", path, "--ctx", "2"}).exit_code, 2);
  EXPECT_EQ(
      run({"perplexity", "--model", kToy, "--text", file("s", "short"), "--ctx", "32"}).exit_code,
      3);
  EXPECT_EQ(run({"perplexity", "--model", kToy, "--text", folder_ + "/none"}).exit_code, 3);
}

// On the real model: a toy would be done before the signal comes.
TEST_F(Verbs, CtrlCEndsARunWithWhatThereIs) {
  int pipe_fds[2];
  ASSERT_EQ(pipe(pipe_fds), 0);
  const std::string err_path = folder_ + "/err";
  const pid_t child = fork();
  if (child == 0) {
    dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
    dup2(pipe_fds[1], STDOUT_FILENO);
    dup2(open(err_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), STDERR_FILENO);
    exec_program(
        {"run", "--model", "smollm2", "--raw", "--temperature", "0", "1, 2, 3, 4, 5, 6, 7, 8,"});
  }
  close(pipe_fds[1]);
  char byte = 0;
  ASSERT_EQ(read(pipe_fds[0], &byte, 1), 1) << contents(err_path);
  kill(child, SIGINT);
  char block[4096];
  char last = 0;
  for (ssize_t n; (n = read(pipe_fds[0], block, sizeof(block))) > 0;) last = block[n - 1];
  close(pipe_fds[0]);
  EXPECT_EQ(last, '\n');
  EXPECT_EQ(exit_code_of(child), 130) << contents(err_path);
  EXPECT_THAT(contents(err_path), HasSubstr("ended by cancelled"));
}

TEST_F(Verbs, LadderSaysWhatEachRungIsWorth) {
  const std::string page = folder_ + "/ladder.html";
  const Outcome ladder = run({"ladder",
                              "--model",
                              kToy,
                              "--workload",
                              "toast",
                              "--ctx",
                              "80",
                              "--budget",
                              "1h",
                              "--repeats",
                              "1",
                              "--price-per-hour",
                              "3.6",
                              "--json",
                              "--html",
                              page});
  ASSERT_EQ(ladder.exit_code, 0) << ladder.err;
  EXPECT_THAT(ladder.err, HasSubstr("s left"));
  const Json json = Json::parse(ladder.out);
  EXPECT_EQ(json["schema"], "farthing-ladder/1");
  EXPECT_NEAR(json["machine"]["usd_per_hour"].get<double>(), 3.6, 1e-9);
  EXPECT_EQ(json["rungs"].size() + json["missing"].size(), 13u);
  EXPECT_FALSE(json["claims"].empty());
  for (const Json& rung : json["rungs"]) {
    EXPECT_GT(rung["tokens_per_second"]["total"].get<double>(), 0) << rung["id"];
    EXPECT_GT(rung["price_per_million_tokens"]["reserved"].get<double>(), 0) << rung["id"];
    EXPECT_TRUE(rung["cumulative"].is_object()) << rung["id"];
    EXPECT_EQ(rung.contains("alone"), rung["id"] != "naive");
    // One round leaves intervals unknown.
    EXPECT_TRUE(rung["factor_from_bottom"]["low"].is_null());
  }
  EXPECT_THAT(contents(page), HasSubstr("<svg"));
}

TEST_F(Verbs, LadderRefusesWhatCantBe) {
  const Outcome budget = run({"ladder", "--model", kToy, "--budget", "soon"});
  EXPECT_EQ(budget.exit_code, 2);
  EXPECT_THAT(budget.err, HasSubstr("10m"));
  const Outcome workload = run({"ladder", "--model", kToy, "--workload", "video"});
  EXPECT_EQ(workload.exit_code, 2);
  EXPECT_THAT(workload.err, HasSubstr("chat|rag|code|batch|toast"));
  EXPECT_EQ(run({"ladder", "--model", kToy, "--kv-type", "int8"}).exit_code, 2);
  EXPECT_EQ(run({"ladder", "--model", "no-such-file.gguf"}).exit_code, 3);
  const Outcome kept = run({"ladder", "--model", kToy, "--resume", file("r", "{}")});
  EXPECT_EQ(kept.exit_code, 3);
  EXPECT_THAT(kept.err, HasSubstr("--resume"));
}

// A program on a terminal of its own.
class Terminal {
 public:
  explicit Terminal(const std::vector<std::string>& args) {
    child_ = forkpty(&fd_, nullptr, nullptr, nullptr);
    if (child_ == 0) {
      setenv("TERM", "xterm", 1);
      exec_program(args);
    }
  }
  ~Terminal() {
    if (child_ > 0 && !ended_) {
      kill(child_, SIGKILL);
      waitpid(child_, nullptr, 0);
    }
    close(fd_);
  }
  void type(const std::string& keys) {
    EXPECT_EQ(write(fd_, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
  }
  // Reads until `text` was shown after what was awaited before; false after a minute.
  bool await(const std::string& text) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    for (;;) {
      if (const size_t at = shown_.find(text, seen_); at != std::string::npos) {
        seen_ = at + text.size();
        return true;
      }
      pollfd ready{fd_, POLLIN, 0};
      if (std::chrono::steady_clock::now() > deadline || poll(&ready, 1, 1000) < 0) return false;
      if (!(ready.revents & (POLLIN | POLLHUP))) continue;
      char block[4096];
      const ssize_t n = read(fd_, block, sizeof(block));
      if (n <= 0) return false;
      shown_.append(block, static_cast<size_t>(n));
    }
  }
  // Until the line editor has the terminal: what is typed before that is echoed and edited by the
  // kernel first, and an end of file or an interrupt typed then is another thing.
  bool await_prompt() {
    if (!await("> ")) return false;
    for (int i = 0; i < 60'000; ++i) {
      termios mode;
      if (tcgetattr(fd_, &mode) == 0 && !(mode.c_lflag & ICANON)) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
  }
  int exit_code() {
    while (await("\x01never\x01")) {
    }
    int status = 0;
    for (int i = 0; i < 5000 && waitpid(child_, &status, WNOHANG) == 0; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      if (i == 4000) kill(child_, SIGKILL);  // it won't end, and says so by this signal
    }
    ended_ = true;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  }
  const std::string& shown() const { return shown_; }

 private:
  int fd_ = -1;
  pid_t child_ = -1;
  bool ended_ = false;
  std::string shown_;
  size_t seen_ = 0;
};

TEST_F(Verbs, ChatOnATerminal) {
  Terminal chat({"run", "--model", kToy, "--max-tokens", "5"});
  ASSERT_TRUE(chat.await_prompt()) << chat.shown();
  chat.type("hello\r");
  ASSERT_TRUE(chat.await("tokens/s")) << chat.shown();
  ASSERT_TRUE(chat.await_prompt()) << chat.shown();
  chat.type("begun");
  ASSERT_TRUE(chat.await("begun")) << chat.shown();
  chat.type("\x03");  // Ctrl-C clears a line
  ASSERT_TRUE(chat.await_prompt()) << chat.shown();
  chat.type("/help\r");
  ASSERT_TRUE(chat.await("/exit or Ctrl-D")) << chat.shown();
  chat.type("/exit\r");
  EXPECT_EQ(chat.exit_code(), 0) << chat.shown();
}

TEST_F(Verbs, ChatLeavesByCtrlDAndByCtrlC) {
  Terminal by_d({"run", "--model", kToy});
  ASSERT_TRUE(by_d.await_prompt()) << by_d.shown();
  by_d.type("\x04");
  EXPECT_EQ(by_d.exit_code(), 0) << by_d.shown();
  Terminal by_c({"run", "--model", kToy});
  ASSERT_TRUE(by_c.await_prompt()) << by_c.shown();
  by_c.type("\x03");
  ASSERT_TRUE(by_c.await("Ctrl-C again")) << by_c.shown();
  ASSERT_TRUE(by_c.await_prompt()) << by_c.shown();
  by_c.type("\x03");
  EXPECT_EQ(by_c.exit_code(), 130) << by_c.shown();
}

TEST_F(Verbs, CtrlCInAChatEndsTheAnswerThenTheProgram) {
  Terminal chat({"run", "--model", "smollm2", "--temperature", "0"});
  ASSERT_TRUE(chat.await_prompt()) << chat.shown();
  chat.type("Write a long story about a farthing.\r");
  ASSERT_TRUE(chat.await("\n")) << chat.shown();
  ASSERT_TRUE(chat.await(" ")) << chat.shown();  // a first word
  chat.type("\x03");
  ASSERT_TRUE(chat.await("cancelled")) << chat.shown();
  ASSERT_TRUE(chat.await_prompt()) << chat.shown();
  chat.type("\x03");  // as if meant for the answer: it doesn't leave
  ASSERT_TRUE(chat.await("Ctrl-C again")) << chat.shown();
  ASSERT_TRUE(chat.await_prompt()) << chat.shown();
  chat.type("\x03");
  EXPECT_EQ(chat.exit_code(), 130) << chat.shown();
}

}  // namespace
}  // namespace farthing
