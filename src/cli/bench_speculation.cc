// The verb `bench speculation`: what drafts give, with guesses as right as was recorded.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/mapped_file.h"
#include "cli/io.h"
#include "cli/model_options.h"
#include "cli/output.h"
#include "cli/terminal.h"
#include "cli/verb.h"
#include "cli/verbs.h"
#include "measure/speculation_bench.h"

namespace farthing {
namespace {

constexpr size_t kMostPatternBytes = 1 << 24;

struct SpeculationCommand {
  ModelOptions model;
  SpeculationBenchOptions bench;
  std::string pattern;  // file
  std::string record;   // file with a prompt
  bool json = false;
};

double median(std::vector<double> values) {
  std::ranges::sort(values);
  const size_t n = values.size();
  return n == 0 ? 0 : (values[(n - 1) / 2] + values[n / 2]) / 2;
}

Json to_json(const SpeculationResult& result) {
  return {{"batch", result.batch},
          {"off_tokens_per_second", result.off},
          {"drafted_tokens_per_second", result.drafted},
          {"speedup", median(result.measured())},
          {"speedups", result.measured()},
          {"reckoned_speedup", median(result.reckoned)},
          {"reckoned_speedups", result.reckoned},
          {"drafted", result.drafts.drafted_tokens},
          {"accepted", result.drafts.accepted_tokens},
          {"tokens_per_step", result.drafts.tokens_per_step()}};
}

std::string table_row(const SpeculationResult& result) {
  const double measured = median(result.measured()), reckoned = median(result.reckoned);
  return fmt::format(
      "batch {:>2}: off {:7.1f} tokens/s, drafted {:7.1f}: {:.3f} times; by the step model {:.3f} "
      "({:+.1f} %); {} of {} right, {:.2f} tokens a step\n",
      result.batch,
      median(result.off),
      median(result.drafted),
      measured,
      reckoned,
      100 * (reckoned / measured - 1),
      result.drafts.accepted_tokens,
      result.drafts.drafted_tokens,
      result.drafts.tokens_per_step());
}

Status record(SpeculationCommand& command, const LoadedModel& model) {
  FARTHING_TRY(const std::string text, read_file(command.record, kMostInputBytes));
  FARTHING_TRY(std::vector<TokenId> prompt, model.tokenizer.encode(text, {.add_special = true}));
  FARTHING_TRY(const GuessPattern pattern,
               record_pattern(model, command.model.engine, std::move(prompt), command.bench.n_gen));
  return write_stdout(pattern_text(pattern));
}

Status bench_speculation(SpeculationCommand& command) {
  EngineOptions& engine = command.model.engine;
  if (engine.speculate == Speculation::kOff)
    return usage_error("--speculate is off: say whose guesses they are");
  if (command.pattern.empty() == command.record.empty())
    return usage_error("give either --pattern FILE or --record FILE");
  if (!command.pattern.empty()) {
    FARTHING_TRY(const std::string text, read_file(command.pattern, kMostPatternBytes));
    auto pattern = parse_pattern(text);
    if (!pattern) return std::move(pattern).error().in(command.pattern);
    command.bench.pattern = *std::move(pattern);
  }
  FARTHING_TRY(const std::string path, resolve_model(command.model.model));
  FARTHING_TRY(const auto model, load_model(path, command.model.load));
  FARTHING_TRY(const auto draft_model, load_draft_model(command.model, *model));
  if (!command.record.empty()) return record(command, *model);
  command.bench.engine = engine;
  const bool terminal = is_terminal(STDERR_FILENO);
  FARTHING_TRY(const std::vector<SpeculationResult> results,
               bench_speculation(*model, command.bench, [&](const std::string& what) {
                 if (!terminal) return;
                 fmt::print(stderr, "\r\033[K{}", what);
                 std::fflush(stderr);
               }));
  if (terminal) fmt::print(stderr, "\r\033[K");
  if (command.json) {
    Json json = Json::array();
    for (const SpeculationResult& result : results) json.push_back(to_json(result));
    return write_stdout(to_text(json, 2) + "\n");
  }
  std::string table;
  for (const SpeculationResult& result : results) table += table_row(result);
  return write_stdout(table);
}

}  // namespace

void add_bench_speculation(CLI::App& bench, int& exit_code) {
  const auto command = std::make_shared<SpeculationCommand>();
  CLI::App* verb = add_verb(bench,
                            "speculation",
                            "What drafts give if guesses are as right as was recorded",
                            exit_code,
                            [command] { return bench_speculation(*command); });
  add_model_options(*verb, command->model);
  verb->remove_option(verb->get_option("--ctx"));       // as long as the test needs
  verb->remove_option(verb->get_option("--kv-cache"));  // without it there are no drafts
  verb->add_option("--pattern", command->pattern, "Which guesses are right; of --record")
      ->type_name("FILE");
  verb->add_option("--record",
                   command->record,
                   "Write the pattern of the answer to the text in this file, instead of measuring")
      ->type_name("FILE");
  const auto count = [&](const char* flag, int32_t& value, int32_t most, const char* what) {
    verb->add_option(flag, value, what)
        ->check(CLI::Range(1, most))
        ->type_name("N")
        ->capture_default_str();
  };
  count("--prompt", command->bench.n_prompt, 1 << 20, "Tokens of each prompt");
  count("--gen", command->bench.n_gen, 1 << 20, "Tokens of each answer");
  count("--rounds",
        command->bench.rounds,
        1000,
        "Times that each batch runs with drafts and without");
  verb->add_option("--batch", command->bench.batches, "Sequences at once")
      ->check(CLI::Range(1, 64))
      ->delimiter(',')
      ->type_name("N[,N...]")
      ->default_str("1");
  verb->add_flag("--json", command->json, "Print a JSON list");
}

}  // namespace farthing
