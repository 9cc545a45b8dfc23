// The verb `bench serve`: how a running server does under load.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/mapped_file.h"
#include "cli/interrupts.h"
#include "cli/io.h"
#include "cli/output.h"
#include "cli/terminal.h"
#include "cli/verb.h"
#include "cli/verbs.h"
#include "measure/http_call.h"
#include "measure/load_client.h"
#include "measure/load_report.h"
#include "measure/workload.h"

namespace farthing {
namespace {

constexpr size_t kMostTraceBytes = size_t{1} << 30;
constexpr int32_t kMost = 1 << 24;

struct ServeCommand {
  LoadReportOptions report;
  std::string endpoint = "completions";
  std::optional<double> rate;
  std::string trace;
  std::string sharegpt;
  std::string api_key_file;
  std::vector<std::string> goodput;
  bool stop_at_eos = false;
  bool json = false;
};

Result<Slo> parse_slo(const std::vector<std::string>& limits) {
  Slo slo;
  for (const std::string& text : limits) {
    const size_t colon = text.find(':');
    const std::string name = text.substr(0, colon);
    double value = 0;
    char* end = nullptr;
    if (colon != text.npos) value = std::strtod(text.c_str() + colon + 1, &end);
    std::optional<double>* target = name == "ttft"   ? &slo.ttft
                                    : name == "tpot" ? &slo.tpot
                                    : name == "itl"  ? &slo.itl
                                    : name == "e2el" ? &slo.e2el
                                                     : nullptr;
    if (!target || !end || *end != '\0' || !(value > 0))
      return usage_error("--goodput {}: give ttft, tpot, itl or e2el and milliseconds: ttft:2000",
                         text);
    *target = value;
  }
  return slo;
}

Result<std::vector<LoadRequest>> make_requests(const ServeCommand& command) {
  const WorkloadOptions& options = command.report.workload;
  if (!command.trace.empty()) {
    FARTHING_TRY(const std::string text, read_file(command.trace, kMostTraceBytes));
    return mooncake_workload(text, options);
  }
  if (!command.sharegpt.empty()) {
    FARTHING_TRY(const std::string text, read_file(command.sharegpt, kMostTraceBytes));
    return sharegpt_workload(text, options);
  }
  return make_workload(options);
}

Status bench_serve(ServeCommand command) {
  LoadReportOptions& report = command.report;
  LoadTarget& target = report.target;
  if (!command.trace.empty() && !command.sharegpt.empty())
    return usage_error("--trace and --sharegpt exclude each other: give one");
  if (command.endpoint != "completions" && command.endpoint != "chat")
    return usage_error("--endpoint {}: is chat or completions", command.endpoint);
  if (command.rate) report.workload.rate = *command.rate;
  FARTHING_TRY(report.slo, parse_slo(command.goodput));
  FARTHING_TRY(target.api_key, read_api_key(command.api_key_file));
  target.chat = command.endpoint == "chat";
  target.ignore_eos = !command.stop_at_eos;
  FARTHING_TRY(const ServedModel model, ask_model(target));
  if (target.model.empty()) target.model = model.id;
  if (model.vocab_size > 0) report.workload.vocab_size = model.vocab_size;
  report.workload.as_text = target.chat;
  target.keep_text = report.details;
  FARTHING_TRY(const std::vector<LoadRequest> requests, make_requests(command));
  if (!command.trace.empty() && requests.back().at > 0)
    report.workload.rate = static_cast<double>(requests.size()) / requests.back().at;
  FARTHING_TRY(Interrupts interrupts, Interrupts::create());
  const bool terminal = is_terminal(STDERR_FILENO);
  int32_t shown = -1;
  bool interrupted = false;
  FARTHING_TRY(const LoadRun run, run_load(target, requests, [&](int32_t n_ended) {
                 if (terminal && std::exchange(shown, n_ended) != n_ended) {
                   fmt::print(stderr, "\r\033[K{} of {} requests", n_ended, requests.size());
                   std::fflush(stderr);
                 }
                 interrupted = interrupted || interrupts.take();
                 return !interrupted;
               }));
  if (terminal) fmt::print(stderr, "\r\033[K");
  const Json result = load_json(run, report);
  FARTHING_TRY_VOID(write_stdout(command.json ? to_text(result, 2) + "\n" : load_table(result)));
  if (interrupted) return Error{ErrorKind::kInterrupted, ""};
  if (result["completed"] == 0) {
    return runtime_failure("no request was answered; the first one: {}",
                           run.outcomes.front().error);
  }
  return {};
}

}  // namespace

void add_bench_serve(CLI::App& bench, int& exit_code) {
  const auto command = std::make_shared<ServeCommand>();
  WorkloadOptions& workload = command->report.workload;
  LoadTarget& target = command->report.target;
  target.url = "http://127.0.0.1:8080";
  CLI::App* verb = add_verb(bench,
                            "serve",
                            "How a running OpenAI-compatible server does under load",
                            exit_code,
                            [command] { return bench_serve(*command); });
  const auto count = [&](const char* flag, int32_t& value, int32_t least, const char* what) {
    verb->add_option(flag, value, what)
        ->check(CLI::Range(least, kMost))
        ->type_name("N")
        ->capture_default_str();
  };
  verb->add_option("--url", target.url, "The server")->capture_default_str();
  verb->add_option("--model-name", target.model, "Its model (default: the first that it lists)")
      ->type_name("NAME");
  verb->add_option("--api-key-file", command->api_key_file, "File whose first line is the API key")
      ->type_name("FILE");
  verb->add_option("--endpoint", command->endpoint, "chat (words) or completions (exact tokens)")
      ->type_name("chat|completions")
      ->capture_default_str();
  count("--num-prompts", workload.n_requests, 1, "Requests to send; at most so many of a trace");
  count("--input-len", workload.n_input, 1, "Tokens of each prompt, beyond the shared prefix");
  count("--output-len", workload.n_output, 1, "Tokens of each answer");
  verb->add_option("--range-ratio", workload.range_ratio, "Lengths vary by this part of them")
      ->type_name("R")
      ->capture_default_str();
  count("--prefix-len", workload.n_prefix, 0, "Tokens that prompts begin with alike");
  count("--num-prefixes", workload.n_prefixes, 1, "So many different beginnings");
  count("--max-concurrency", target.max_concurrency, 0, "Requests at once; 0: any number");
  verb->add_option("--request-rate", command->rate, "Requests per second (default: all at once)")
      ->type_name("R");
  verb->add_option("--burstiness",
                   workload.burstiness,
                   "Shape of the gaps' gamma distribution: 1 is Poisson, less is burstier")
      ->type_name("B")
      ->capture_default_str();
  verb->add_option(
          "--trace", command->trace, "Lengths and times from a Mooncake trace (JSON lines)")
      ->type_name("FILE");
  verb->add_option("--sharegpt", command->sharegpt, "Prompts from a ShareGPT file (JSON)")
      ->type_name("FILE");
  verb->add_option("--goodput",
                   command->goodput,
                   "Limits of a good answer: ttft:MS tpot:MS itl:MS (its p99) e2el:MS")
      ->type_name("NAME:MS");
  verb->add_option("--percentiles", command->report.percentiles, "Which to print")
      ->check(CLI::Range(0.0, 100.0))
      ->delimiter(',')
      ->type_name("P[,P...]")
      ->default_str("50,90,99");
  verb->add_option("--temperature", target.temperature, "0 always takes the likeliest token")
      ->type_name("T")
      ->capture_default_str();
  verb->add_flag("--stop-at-eos", command->stop_at_eos, "Let the model end its answers");
  verb->add_option("--timeout", target.timeout_seconds, "Most seconds of one request")
      ->check(CLI::Range(0.001, 1e6))
      ->type_name("SECONDS")
      ->capture_default_str();
  verb->add_option("--seed", workload.seed, "Of prompts, lengths and times")
      ->type_name("N")
      ->capture_default_str();
  verb->add_option("--label", command->report.label, "What the report calls this run")
      ->type_name("NAME");
  verb->add_flag("--json", command->json, "Print one JSON object, with vllm bench serve's names");
  verb->add_flag("--details", command->report.details, "With a list of every request in it");
}

}  // namespace farthing
