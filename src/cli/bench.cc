// The verb `bench`: how fast models run on this machine, and how much of the machine that is.
#include "measure/bench.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/io.h"
#include "cli/model_options.h"
#include "cli/output.h"
#include "cli/terminal.h"
#include "cli/verb.h"
#include "cli/verbs.h"
#include "cli/version.h"
#include "load/model_file.h"
#include "measure/bench_report.h"

namespace farthing {
namespace {

constexpr int32_t kMostTokens = 1 << 24;
constexpr int32_t kMostSequences = 4096;

struct BenchCommand {
  ModelOptions model;  // model.model: one or several, separated by commas
  BenchOptions bench;
  bool json = false;
};

// What is being measured, on a terminal only: one line that is rewritten.
class Progress {
 public:
  Progress() : terminal_(is_terminal(STDERR_FILENO)) {}
  ~Progress() { show(""); }

  void show(const std::string& what) {
    if (!terminal_) return;
    fmt::print(stderr, "\r\033[K{}", what);
    std::fflush(stderr);
  }

 private:
  bool terminal_;
};

std::vector<std::string> split_at_commas(const std::string& list) {
  std::vector<std::string> parts(1);
  for (char c : list) {
    if (c == ',') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

// The files behind --model. A file whose name has a comma is one file.
Result<std::vector<std::string>> resolve_models(const std::string& list) {
  std::error_code error;
  if (std::filesystem::exists(list, error)) return std::vector{list};
  std::vector<std::string> paths;
  for (const std::string& name : split_at_commas(list)) {
    FARTHING_TRY(std::string path, resolve_model(name));
    // What can't be opened should be said now, not after minutes with the files before it.
    FARTHING_TRY_VOID(open_model_file(path));
    paths.push_back(std::move(path));
  }
  return paths;
}

BenchOptions bench_options(const BenchCommand& command) {
  const EngineOptions& engine = command.model.engine;
  BenchOptions options = command.bench;
  options.chunk = engine.chunk;
  options.runner = {
      .n_threads = engine.n_threads, .isa = engine.isa, .memory_limit = engine.memory_limit};
  options.runner.decoder.kv_type = engine.kv_type;
  options.runner.decoder.attention = engine.attention;
  return options;
}

BenchedModel describe(const LoadedModel& loaded, const Bench& bench, const BenchOptions& options) {
  return {.filename = loaded.path,
          .type = loaded.description,
          .size = loaded.model->tensor_bytes(),
          .n_params = loaded.n_parameters,
          .n_threads = bench.runner().n_threads(),
          .chunk = bench.chunk(),
          .kv_type = options.runner.decoder.kv_type,
          .flash_attention = options.runner.decoder.attention == AttentionMode::kFlash,
          .kv_bytes = bench.runner().kv_bytes(),
          .workspace_bytes = bench.runner().workspace_bytes()};
}

BenchResult run_tests(Bench& bench,
                      const LoadedModel& loaded,
                      const ModelWork& model,
                      const BenchOptions& options,
                      MachineGauge& gauge,
                      Progress& progress) {
  BenchResult result{.model = describe(loaded, bench, options)};
  for (const BenchTest& test : bench.tests()) {
    const std::string name = fmt::format("{}: {}", loaded.id, test.name());
    progress.show(name);
    BenchRow row{.work = work_of(test, model, bench.chunk())};
    row.samples = bench.run(test, [&](int32_t rep) {
      progress.show(fmt::format("{}, {} of {}", name, rep + 1, options.reps));
      row.roofs.push_back(gauge.measure());
    });
    row.roofs.push_back(gauge.measure());
    result.rows.push_back(std::move(row));
  }
  return result;
}

Status bench(const BenchCommand& command) {
  const BenchOptions options = bench_options(command);
  FARTHING_TRY_VOID(plan_tests(options));
  FARTHING_TRY(const std::vector<std::string> paths, resolve_models(command.model.model));
  std::optional<BenchMachine> machine;
  std::optional<MachineGauge> gauge;
  std::vector<BenchResult> results;
  {
    Progress progress;
    int32_t threads = 0;
    for (const std::string& path : paths) {
      progress.show(fmt::format("loading {}", path));
      FARTHING_TRY(const auto loaded, load_model(path, command.model.load));
      FARTHING_TRY(Bench bench, Bench::create(*loaded->model, options));
      if (!machine) {
        progress.show("measuring the machine");
        machine.emplace();
        machine->isa = bench.runner().isa();
        threads = bench.runner().n_threads();
        FARTHING_TRY(machine->before, measure_machine(machine->isa, threads));
        FARTHING_TRY(gauge, MachineGauge::create(machine->isa, threads));
      }
      const ModelWork work(*loaded->model, options.runner.decoder.kv_type);
      results.push_back(run_tests(bench, *loaded, work, options, *gauge, progress));
    }
    gauge.reset();
    progress.show("measuring the machine again");
    FARTHING_TRY(machine->after, measure_machine(machine->isa, threads));
  }
  if (!command.json) return write_stdout(bench_table(*machine, results));
  return write_stdout(to_text(bench_json(*machine, results, commit_id()), 2) + "\n");
}

}  // namespace

void add_bench(CLI::App& app, int& exit_code) {
  const auto command = std::make_shared<BenchCommand>();
  BenchOptions& options = command->bench;
  CLI::App* verb = add_verb(app,
                            "bench",
                            "How fast models run, and how much of this machine they use",
                            exit_code,
                            [command] { return bench(*command); });
  add_model_options(*verb, command->model);
  verb->remove_option(verb->get_option("--ctx"));       // as long as the tests need
  verb->remove_option(verb->get_option("--kv-cache"));  // without it there is no depth
  for (const char* flag : {"--speculate", "--draft", "--draft-model", "--draft-layers"})
    verb->remove_option(verb->get_option(flag));  // tokens are random
  verb->get_option("--model")
      ->description("GGUF file, or smollm2, gemma3; or several")
      ->type_name("FILE[,FILE...]");
  verb->add_option("--prompt", options.n_prompt, "Tokens of a prompt; 0: no prompt tests")
      ->check(CLI::Range(0, kMostTokens))
      ->type_name("N")
      ->capture_default_str();
  verb->add_option("--gen", options.n_gen, "Tokens to generate; 0: no generation tests")
      ->check(CLI::Range(0, kMostTokens))
      ->type_name("N")
      ->capture_default_str();
  verb->add_option("--depth",
                   options.depths,
                   "Tokens before the test, not timed; several tests if several are given")
      ->check(CLI::Range(0, kMostTokens))
      ->delimiter(',')
      ->type_name("N[,N...]")
      ->default_str("0");
  verb->add_option("--batch",
                   options.batches,
                   "Sequences that generate together; those of a batch above 1 start behind "
                   "--prompt tokens each, whatever --depth is")
      ->check(CLI::Range(1, kMostSequences))
      ->delimiter(',')
      ->type_name("N[,N...]")
      ->default_str("1");
  verb->add_option("--reps", options.reps, "Repetitions of each test")
      ->check(CLI::Range(1, 100000))
      ->type_name("N")
      ->capture_default_str();
  verb->add_flag("--json", command->json, "Print one JSON object, with llama-bench's field names");
  add_bench_serve(*verb, exit_code);
  add_bench_speculation(*verb, exit_code);
}

}  // namespace farthing
