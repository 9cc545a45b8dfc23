// The verb `ladder`: what each optimisation is worth on this machine, in speed, memory, quality and
// money.
#include "measure/ladder.h"

#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <cmath>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "base/cpu.h"
#include "base/new_file.h"
#include "cli/interrupts.h"
#include "cli/io.h"
#include "cli/model_options.h"
#include "cli/output.h"
#include "cli/price_options.h"
#include "cli/terminal.h"
#include "cli/verb.h"
#include "cli/verbs.h"
#include "cli/version.h"
#include "measure/ladder_report.h"

namespace farthing {
namespace {

struct LadderCommand {
  ModelOptions model;
  LadderOptions ladder;
  PriceOptions price;
  std::string workload = "chat";
  std::string html;
  bool json = false;
  bool markdown = false;
  bool claims = false;
};

// "10m", "90s", "1.5h", "600".
Result<double> parse_duration(const std::string& text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  const double seconds = unit.empty() || unit == "s" ? 1
                         : unit == "m"               ? 60
                         : unit == "h"               ? 3600
                                                     : 0;
  if (error != std::errc() || seconds == 0 || !std::isfinite(number) || !(number > 0) ||
      number * seconds > 7 * 86400.0)
    return usage_error("'{}' is no length of time up to a week: write e.g. 90s, 10m or 1.5h", text);
  return number * seconds;
}

// What is being measured and how long it will take: one line that is rewritten on a terminal, else
// a line now and then.
class LadderProgress {
 public:
  LadderProgress() : terminal_(is_terminal(STDERR_FILENO)) {}
  ~LadderProgress() {
    if (terminal_) fmt::print(stderr, "\r\033[K");
  }
  void show(const std::string& what, double seconds_left) {
    constexpr double kSecondsBetweenLines = 10;
    const TimePoint now = Clock::now();
    if (!terminal_ && shown_ && seconds_between(last_, now) < kSecondsBetweenLines) return;
    fmt::print(stderr,
               "{}{}, about {:.0f} s left{}",
               terminal_ ? "\r\033[K" : "",
               what,
               std::max(0.0, seconds_left),
               terminal_ ? "" : "\n");
    std::fflush(stderr);
    shown_ = true;
    last_ = now;
  }

 private:
  bool terminal_;
  bool shown_ = false;
  TimePoint last_{};
};

Result<LadderBill> bill_of(const PriceOptions& options) {
  FARTHING_TRY(std::optional<MachinePrice> price, read_price(options));
  if (!price) return assumed_bill(cpu_budget().affinity);
  return LadderBill{*std::move(price), options.file.empty() ? "--price-per-hour" : "--price-file"};
}

Status ladder(LadderCommand& command) {
  LadderOptions& options = command.ladder;
  options.workload = find_workload(command.workload);
  options.engine = command.model.engine;
  FARTHING_TRY(const LadderBill bill, bill_of(command.price));
  FARTHING_TRY(options.model, resolve_model(command.model.model));
  FARTHING_TRY(Interrupts interrupts, Interrupts::create());
  Result<LadderResult> result = runtime_failure("not run");
  {
    LadderProgress progress;
    bool interrupted = false;
    result = run_ladder(
        options,
        {.progress = [&](const std::string& what, double left) { progress.show(what, left); },
         .stop = [&] { return interrupted = interrupted || interrupts.take(); }});
  }
  if (!result) return std::move(result).error();
  const bool nothing = result->measured.empty();
  if (nothing) return Error{ErrorKind::kInterrupted, "interrupted before anything was measured"};
  const Json json = ladder_json(*result, bill, commit_id());
  if (!command.html.empty()) FARTHING_TRY_VOID(write_file(command.html, ladder_html(json)));
  std::string text;
  if (command.json)
    text = to_text(json, 2) + "\n";
  else if (command.markdown)
    text = ladder_markdown(json);
  else if (command.claims)
    text = ladder_table(json) + "\n" + claims_table(json);
  else
    text = ladder_table(json);
  FARTHING_TRY_VOID(write_stdout(text));
  if (!result->interrupted) return {};
  return Error{ErrorKind::kInterrupted,
               options.resume.empty()
                   ? "interrupted: --resume FILE would have kept this for the next run"
                   : fmt::format("interrupted: --resume {} goes on from here", options.resume)};
}

std::string workload_names() {
  std::string names;
  for (const LadderWorkload& w : all_workloads())
    names += (names.empty() ? "" : "|") + std::string(w.id);
  return names;
}

}  // namespace

void add_ladder(CLI::App& app, int& exit_code) {
  const auto command = std::make_shared<LadderCommand>();
  LadderOptions& options = command->ladder;
  CLI::App* verb = add_verb(app,
                            "ladder",
                            "What each optimisation is worth here: speed, memory, quality, money",
                            exit_code,
                            [command] { return ladder(*command); });
  add_model_options(*verb, command->model);
  // What the rungs themselves set.
  for (const char* flag : {"--kv-cache",
                           "--attention",
                           "--prefix-cache",
                           "--kv-layout",
                           "--kv-type",
                           "--chunk",
                           "--weights",
                           "--speculate",
                           "--draft",
                           "--draft-model",
                           "--draft-layers"})
    verb->remove_option(verb->get_option(flag));
  verb->get_option("--isa")->description("The best instruction set to use");
  add_price_options(*verb, command->price);
  verb->add_option_function<std::string>(
          "--workload",
          [command](const std::string& name) {
            if (!find_workload(name))
              throw CLI::ValidationError("--workload",
                                         "'" + name + "' is none of " + workload_names());
            command->workload = name;
          },
          "What is asked of the engine")
      ->type_name(workload_names())
      ->default_str(command->workload);
  verb->add_option_function<std::string>(
          "--budget",
          [&options](const std::string& text) {
            Result<double> seconds = parse_duration(text);
            if (!seconds) throw CLI::ValidationError("--budget", seconds.error().message);
            options.budget = *seconds;
          },
          "Most time to take, e.g. 90s, 10m")
      ->type_name("TIME")
      ->default_str("10m");
  verb->add_option("--repeats", options.rounds, "Rounds over all settings, as time allows")
      ->check(CLI::Range(1, 100))
      ->type_name("N")
      ->capture_default_str();
  verb->add_option("--seed", options.seed, "Of the workload")
      ->type_name("N")
      ->capture_default_str();
  verb->add_option("--resume",
                   options.resume,
                   "Keep what was measured in this file, and go on from it if it is there")
      ->type_name("FILE");
  verb->add_option("--html", command->html, "Write a page with charts, too")->type_name("FILE");
  verb->add_flag("--markdown", command->markdown, "Print Markdown");
  verb->add_flag("--json", command->json, "Print one JSON object (docs/ladder.md)");
  verb->add_flag(
      "--claims", command->claims, "Hold the chapter's claims against what was measured");
}

}  // namespace farthing
