#include <fmt/format.h>
#include <malloc.h>
#include <poll.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/energy_meter.h"
#include "base/mapped_file.h"
#include "cache/kv_store.h"
#include "cli/model_options.h"
#include "cli/price_options.h"
#include "cli/verb.h"
#include "cli/verbs.h"
#include "cli/version.h"
#include "engine/engine.h"
#include "engine/loaded_model.h"
#include "measure/machine.h"
#include "serve/engine_backend.h"
#include "serve/http_server.h"

namespace farthing {
namespace {

constexpr int32_t kDefaultSequences = 16;
constexpr double kKVShare = 0.25;  // of the available memory, unless --max-seqs says otherwise
constexpr size_t kMostKeyBytes = 1 << 20;

struct ServeFlags {
  ModelOptions model;
  std::string host = "127.0.0.1";
  int32_t port = 8080;
  int32_t max_seqs = kDefaultSequences;
  int64_t kv_memory = 0;   // 0: kKVShare
  double itl_target = 50;  // milliseconds
  int32_t max_queue = 128;
  double max_wait = 30;
  std::optional<int32_t> max_per_key;
  PriceOptions price;
  bool vllm_metrics = false;
  double request_timeout = 600;
  double drain_timeout = 30;
  double stall_timeout = 30;
  bool insecure = false;
  std::string api_key_file;
  TlsFiles tls;
  std::string served_model_name;
  bool strict_model = false;
  std::vector<std::string> cors_origins;
};

void add_flags(CLI::App& verb, ServeFlags& flags) {
  add_model_options(verb, flags.model);
  verb.add_option("--host", flags.host, "Address to listen on")->capture_default_str();
  verb.add_option("--port", flags.port, "Port to listen on; 0: any free one")
      ->check(CLI::Range(0, 65535))
      ->type_name("N")
      ->capture_default_str();
  verb.add_option("--max-seqs", flags.max_seqs, "Sequences that run at once")
      ->check(CLI::Range(1, 1024))
      ->type_name("N")
      ->capture_default_str();
  verb.add_option_function<std::string>(
          "--kv-memory",
          [&flags](const std::string& text) {
            Result<int64_t> bytes = parse_bytes(text);
            if (!bytes) throw CLI::ValidationError("--kv-memory", bytes.error().message);
            flags.kv_memory = *bytes;
          },
          "Memory for keys and values (default: what --max-seqs full contexts take, at most a "
          "quarter of the memory)")
      ->type_name("BYTES");
  EngineOptions& engine = flags.model.engine;
  add_choice<Batching>(
      verb,
      "--batching",
      engine.batching,
      {{"continuous", Batching::kContinuous},
       {"static", Batching::kStatic},
       {"off", Batching::kOff}},
      "static: a batch runs to its end before the next; off: one sequence at a time");
  std::vector<std::pair<std::string, Policy>> policies;
  for (const PolicyRow& row : all_policies()) policies.emplace_back(row.name, row.policy);
  add_choice<Policy>(verb, "--policy", engine.policy, policies, "Which waiting request runs next");
  verb.add_option("--itl-target",
                  flags.itl_target,
                  "Milliseconds between the tokens of running answers that other prompts may not "
                  "exceed, unless a step is half of that without them; 0: none")
      ->check(CLI::Range(0.0, 1e6))
      ->type_name("MS")
      ->capture_default_str();
  verb.add_option("--max-queue", flags.max_queue, "Samples that may wait beyond --max-seqs")
      ->check(CLI::Range(0, 1 << 20))
      ->type_name("N")
      ->capture_default_str();
  verb.add_option("--max-wait",
                  flags.max_wait,
                  "Seconds that a new request may be going to wait; 503 beyond that; 0: any")
      ->check(CLI::Range(0.0, 1e7))
      ->type_name("SECONDS")
      ->capture_default_str();
  verb.add_option("--max-per-key",
                  flags.max_per_key,
                  "Samples of one API key that may run or wait; 429 beyond that; 0: any (default: "
                  "half of all with several keys)")
      ->check(CLI::Range(0, 1 << 20))
      ->type_name("N");
  verb.add_option("--request-timeout", flags.request_timeout, "Most seconds a request may take")
      ->check(CLI::Range(0.001, 1e7))
      ->type_name("SECONDS")
      ->capture_default_str();
  verb.add_option("--drain-timeout",
                  flags.drain_timeout,
                  "Seconds that running requests have to finish after SIGTERM")
      ->check(CLI::Range(0.0, 1e7))
      ->type_name("SECONDS")
      ->capture_default_str();
  verb.add_option("--stall-timeout",
                  flags.stall_timeout,
                  "Seconds without a step, while work waits, after which /health is 503")
      ->check(CLI::Range(0.001, 1e7))
      ->type_name("SECONDS")
      ->capture_default_str();
  verb.add_option("--api-key-file", flags.api_key_file, "File with one API key per line")
      ->type_name("FILE");
  verb.add_option("--tls-cert", flags.tls.certificate, "Serve HTTPS with this certificate (PEM)")
      ->type_name("FILE");
  verb.add_option("--tls-key", flags.tls.key, "The certificate's private key (PEM)")
      ->type_name("FILE");
  add_price_options(verb, flags.price);
  add_choice<bool>(verb,
                   "--metrics-alias",
                   flags.vllm_metrics,
                   {{"none", false}, {"vllm", true}},
                   "vllm: /metrics gives vLLM's names too");
  verb.add_flag(
      "--insecure", flags.insecure, "Serve other machines although nobody is asked for a key");
  verb.add_option("--served-model-name", flags.served_model_name, "What the API calls the model")
      ->type_name("NAME");
  verb.add_flag("--strict-model", flags.strict_model, "404 for requests that name another model");
  verb.add_option("--cors-origin", flags.cors_origins, "Origin whose pages may call; repeatable")
      ->type_name("ORIGIN");
}

// One key per line; blank lines and lines that begin with # don't count.
Result<std::vector<std::string>> read_keys(const std::string& path) {
  std::vector<std::string> keys;
  if (path.empty()) return keys;
  FARTHING_TRY(const std::string text, read_file(path, kMostKeyBytes));
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string line = text.substr(begin, end - begin);
    begin = end + 1;
    const size_t first = line.find_first_not_of(" \t\r");
    if (first == std::string::npos || line[first] == '#') continue;
    keys.push_back(line.substr(first, line.find_last_not_of(" \t\r") - first + 1));
  }
  if (keys.empty()) return bad_input("--api-key-file {}: there is no key in it", path);
  return keys;
}

// As many files, that is connections, as the system lets this process have.
void raise_file_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// Bodies and answers go back to the system when they are freed; by itself malloc would keep ever
// larger ones for the next.
void return_large_blocks() {
  constexpr int kLarge = 256 << 10;
  mallopt(M_MMAP_THRESHOLD, kLarge);
}

ServerOptions::Duration milliseconds(double seconds) {
  return ServerOptions::Duration(static_cast<int64_t>(seconds * 1e3));
}

// What the machine reads and computes in a second at most: a twentieth of a second's look.
Work peak_of(const Engine& engine, const Weights& weights) {
  const MachineSpeed::Rates rates =
      glance_at_machine(engine.isa(), engine.n_threads(), weights.tiles.bytes());
  return {.bytes = rates.read_gb_per_s * 1e9, .operations = rates.int8_gops * 1e9};
}

// Lines to stderr. One that would have to wait (a pipe that nobody empties) is dropped instead: the
// HTTP thread must not stand still for its log. Lines are shorter than PIPE_BUF, so a writable pipe
// takes one whole.
std::function<void(ServerOptions::LogLevel, const std::string&)> log_to(
    const std::shared_ptr<spdlog::logger>& logger) {
  return [logger](ServerOptions::LogLevel level, const std::string& line) {
    pollfd output{.fd = STDERR_FILENO, .events = POLLOUT, .revents = 0};
    // Nobody reads it any more: POLLERR, with POLLOUT.
    if (poll(&output, 1, 0) <= 0 || output.revents != POLLOUT) return;
    const bool info = level == ServerOptions::LogLevel::kInfo;
    logger->log(info ? spdlog::level::info : spdlog::level::warn, "{}", line);
  };
}

void print_ready(const HttpServer& server, const std::string& model, bool tls, bool needs_key) {
  const bool v6 = server.host().find(':') != std::string::npos;
  const std::string url = fmt::format("http{}://{}:{}",
                                      tls ? "s" : "",
                                      v6 ? "[" + server.host() + "]" : server.host(),
                                      server.port());
  fmt::print("farthing serves {} at {}\n", model, url);
  fmt::print(
      "curl {}/v1/chat/completions -H 'Content-Type: application/json'{} -d "
      "'{{\"messages\":[{{\"role\":\"user\",\"content\":\"Say hello.\"}}],"
      "\"max_tokens\":32}}'\n",
      url,
      needs_key ? " -H \"Authorization: Bearer $KEY\"" : "");
  std::fflush(stdout);
}

// Until the server takes over the signals: nothing runs yet that would have to finish.
extern "C" void leave_before_serving(int signal) {
  _exit(signal == SIGTERM ? 0 : 130);
}

Status serve(ServeFlags flags) {
  std::signal(SIGTERM, leave_before_serving);
  std::signal(SIGINT, leave_before_serving);
  return_large_blocks();
  std::signal(SIGPIPE, SIG_IGN);  // whoever read the log may leave before the server does
  const auto logger =
      std::make_shared<spdlog::logger>("serve", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");

  const TimePoint started = Clock::now();
  FARTHING_TRY(std::vector<std::string> keys, read_keys(flags.api_key_file));
  FARTHING_TRY(std::optional<MachinePrice> price, read_price(flags.price));
  FARTHING_TRY(const std::string path, resolve_model(flags.model.model));
  FARTHING_TRY(const std::unique_ptr<LoadedModel> model, load_model(path, flags.model.load));
  for (const std::string& warning : model->tokenizer.warnings()) logger->warn("{}", warning);
  if (!model->chat_template) {
    logger->warn("the model has no chat template{}{}: /v1/chat/completions will refuse",
                 model->chat_template_error.empty() ? "" : " that works: ",
                 model->chat_template_error);
  }
  EngineOptions& engine_options = flags.model.engine;
  engine_options.max_sequences = flags.max_seqs;
  engine_options.kv_memory = flags.kv_memory;
  engine_options.kv_share = kKVShare;
  engine_options.itl_target = flags.itl_target * 1e-3;
  FARTHING_TRY(const std::unique_ptr<Model> draft_model, load_draft_model(flags.model, *model));
  engine_options.score_prompts = true;
  FARTHING_TRY(const std::unique_ptr<Engine> engine, Engine::start(*model, engine_options));
  logger->info(
      "model={} context={} max_seqs={} threads={} isa={} kv_mib={} workspace_mib={} "
      "drafter_mib={}",
      model->description,
      engine->context(),
      engine_options.max_sequences,
      engine->n_threads(),
      isa_name(engine->isa()),
      engine->kv_bytes() >> 20,
      engine->workspace_bytes() >> 20,
      engine->drafter_bytes() >> 20);

  EngineBackend backend(*model, *engine, flags.served_model_name, std::move(price));
  const bool needs_key = !keys.empty();
  const int32_t all_samples = engine_options.max_sequences + flags.max_queue;
  const int32_t max_per_key = flags.max_per_key.value_or(keys.size() > 1 ? all_samples / 2 : 0);
  RouteOptions routes{
      .policy = {.strict_model = flags.strict_model,
                 .request_timeout_seconds = flags.request_timeout},
      .api_keys = std::move(keys),
      .cors_origins = flags.cors_origins,
      .own_names_only = !needs_key && !flags.insecure,
      .start_time = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now()),
      .version = version_line(),
      .stall_seconds = flags.stall_timeout,
      .started = started,
      .vllm_metrics = flags.vllm_metrics,
      .peak = peak_of(*engine, model->model->weights),
      .energy_meter = EnergyMeter::open()};
  ServerOptions options{.host = flags.host, .port = static_cast<uint16_t>(flags.port)};
  options.allow_public = flags.insecure || needs_key;
  options.tls = flags.tls;
  options.handle_signals = true;
  raise_file_limit();
  options.calls = {.max_seqs = engine_options.max_sequences,
                   .max_queue = flags.max_queue,
                   .max_per_caller = max_per_key,
                   .max_wait = flags.max_wait};
  options.drain_timeout = milliseconds(flags.drain_timeout);
  options.log = log_to(logger);
  FARTHING_TRY(const std::unique_ptr<HttpServer> server,
               HttpServer::start(backend, std::move(routes), std::move(options)));
  print_ready(*server, backend.info().id, !flags.tls.key.empty(), needs_key);
  if (server->run()) return {};
  // Joining an engine that doesn't answer would keep the process for ever.
  logger->error("the engine did not stop within the drain timeout: leaving without it");
  std::_Exit(static_cast<int>(ErrorKind::kRuntime));
}

}  // namespace

void add_serve(CLI::App& app, int& exit_code) {
  const auto flags = std::make_shared<ServeFlags>();
  CLI::App* verb = add_verb(
      app, "serve", "Serve the OpenAI API over HTTP", exit_code, [flags] { return serve(*flags); });
  add_flags(*verb, *flags);
}

}  // namespace farthing
